"""Health: probes read one snapshot of a job (I/O); verdicts and gates judge it (pure)."""
