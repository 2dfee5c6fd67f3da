"""Sluice deploys, watches and upgrades PyFlink streaming jobs from Apache Airflow.

A job's file imports these names and no others; importing them starts no JVM and imports neither PyFlink nor Airflow.
"""

from sluice.job.config import ChangesState, JobConfig
from sluice.job.dead_letter import DeadLetter
from sluice.job.definition import Job
from sluice.job.duration import Duration
from sluice.job.limits import Health, Replay
from sluice.job.record import FlinkType, Record, ScalarText
from sluice.job.sql import interval, literal
from sluice.job.topic import Kafka

__all__ = [
    "ChangesState",
    "DeadLetter",
    "Duration",
    "FlinkType",
    "Health",
    "Job",
    "JobConfig",
    "Kafka",
    "Record",
    "Replay",
    "ScalarText",
    "interval",
    "literal",
]
