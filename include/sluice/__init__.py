"""Sluice deploys, watches and upgrades PyFlink streaming jobs from Apache Airflow."""
