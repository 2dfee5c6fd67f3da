"""The fleet page in Airflow: its routes, its permissions, and the files that the browser loads (static/)."""
