"""The versions that are tested together; pom.xml and requirements.txt name them too, and a test compares.

Another version of Flink or its connector makes another release of every job. Another version of the code that Sluice
generates does not: a job gets it with the next release of its own.
"""

FLINK = "2.3.0"
KAFKA_CONNECTOR = "5.0.0-2.2"

PIPELINE = 2
"""The version of the code that Sluice generates around a job's pipeline: the SQL of `client/tables.py`, and what the
strict-json format takes for malformed. Raise it with any change of these that alters what a job does; a test notices
one of the SQL. 2: reads count the records that they leave out."""
COUNTS = 2
"""The first version of the generated code whose reads count what they leave out."""
