"""The job SDK: what a file in `flink_jobs/` imports. Needs pydantic alone: no PyFlink, no JVM, no Airflow."""
