"""Names that a job has outside: the same wherever they are needed."""

from __future__ import annotations


def consumer_group(environment: str, job: str) -> str:
    """The job's Kafka consumer group; with the sink behind it also its prefix of transactional ids."""
    return f"sluice.{environment}.{job}"
