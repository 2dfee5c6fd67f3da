"""Kafka, Flink and Airflow for one machine, supervised, and the traffic that feeds them. For development and tests."""
