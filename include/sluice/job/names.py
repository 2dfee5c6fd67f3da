"""Names that a job has outside: the same wherever they are needed."""

from __future__ import annotations

import keyword
import re

_JOB_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def is_job_name(text: str) -> bool:
    """Whether a job may have this name: a Python identifier of lower-case letters, digits and _, up to 63 characters.

    So it does as the name of a module, a DAG, a consumer group and a topic. Python's keywords are none.
    """
    return _JOB_NAME.fullmatch(text) is not None and not keyword.iskeyword(text)


def consumer_group(environment: str, job: str) -> str:
    """The job's Kafka consumer group; with the sink behind it also its prefix of transactional ids."""
    return f"sluice.{environment}.{job}"
