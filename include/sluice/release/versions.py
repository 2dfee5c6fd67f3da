"""The versions that are tested together; pom.xml and requirements.txt name them too, and a test compares."""

FLINK = "2.3.0"
KAFKA_CONNECTOR = "5.0.0-2.2"
