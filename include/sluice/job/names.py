"""The names of jobs and of their Kafka consumer groups."""

from __future__ import annotations

import keyword
import re

_JOB_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def is_job_name(text: str) -> bool:
    """Whether a job may have this name: lower-case letters, digits and _, a letter first, at most 63 characters.

    The name is also that of a module, a DAG, a consumer group and a topic. Python keywords are not allowed.
    """
    return _JOB_NAME.fullmatch(text) is not None and not keyword.iskeyword(text)


def consumer_group(environment: str, job: str) -> str:
    """The job's Kafka consumer group; followed by the sink's name it is the prefix of transactional ids."""
    return f"sluice.{environment}.{job}"
