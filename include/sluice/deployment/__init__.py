"""The desired state: which jobs there are, and how `deployments/<environment>.yaml` wants them to run."""
