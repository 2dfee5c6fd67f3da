"""Sluice in Airflow: operators, trigger, links, and the DAGs made of them. The only code that imports Airflow."""
