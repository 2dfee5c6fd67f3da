"""The desired state: the jobs in `flink_jobs/`, and their settings in `deployments/<environment>.yaml`."""
