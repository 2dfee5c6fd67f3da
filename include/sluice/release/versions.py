"""The versions that are tested together. A test compares them with pom.xml and requirements.txt.

A new version of Flink or its connector makes a new release of every job. A new version of the code that Sluice
generates does not: a job gets it with its own next release.
"""

from dataclasses import dataclass

FLINK = "2.3.0"
KAFKA_CONNECTOR = "5.0.0-2.2"

PIPELINE = 2
"""The version of the code that Sluice generates around a job's pipeline: the SQL of `client/tables.py`, and the rules
by which the strict-json format calls a record malformed. Raise it with each change that alters what jobs do; a test
fails when the SQL changes. 2: reads count the records that they drop."""
COUNTS = 2
"""The first version of the generated code whose reads count the records that they drop."""
FACTS = 1
"""The version of what the client reports of a compiled graph. Raise it with each change of `sluice.client.graph` or
`sluice.client.descriptions` that alters a report, so that stored graphs are compiled and reported again."""


@dataclass(frozen=True)
class Versions:
    """The versions that decide how a job runs."""

    flink: str = FLINK
    kafka_connector: str = KAFKA_CONNECTOR
    pipeline: int = PIPELINE


CURRENT = Versions()
"""Those of this version of Sluice."""
