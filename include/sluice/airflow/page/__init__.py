"""The fleet page in Airflow: its routes, who may see what, and what the browser loads (static/)."""
