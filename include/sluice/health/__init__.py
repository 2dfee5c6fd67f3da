"""Health: a probe reads one snapshot of a job (I/O); gates and verdicts judge the snapshot (pure)."""
