"""The job SDK: the names that files in `flink_jobs/` import. It needs pydantic only: no PyFlink, JVM or Airflow."""
