"""The versions that are tested together; pom.xml and requirements.txt name them too, and a test compares.

All of them are part of every job's fingerprint: another version is another release.
"""

FLINK = "2.3.0"
KAFKA_CONNECTOR = "5.0.0-2.2"

PIPELINE = 2
"""The version of what Sluice itself puts around a job's pipeline: the SQL of `client/tables.py`, and what the
strict-json format takes for malformed. Raise it with any change of these that alters what a job does; a test notices
one of the SQL."""
