"""Kafka: connections to the brokers, topics and offsets."""
