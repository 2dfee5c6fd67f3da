"""The fingerprint: a digest of what decides how a job runs, and of nothing else."""

from __future__ import annotations

import ast
import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from sluice.deployment.desired import DesiredJob
from sluice.job.record import columns, scalar_text_paths
from sluice.job.topic import Kafka
from sluice.release.modules import content, job_modules, parse
from sluice.release.versions import FLINK, KAFKA_CONNECTOR, PIPELINE


def fingerprint(root: Path, desired: DesiredJob) -> str:
    """SHA-256, in hexadecimal, over the job's modules, resolved values, records, and the versions that run it.

    Comments, docstrings and layout of the code are not in it; neither are owner, tags and health limits, which take
    effect without the job being restarted.
    """
    decisive = {
        "code": {name: _code(file) for name, file in job_modules(root, desired.job.module).items()},
        "values": desired.values(),
        "reads": {name: _spec(topic) for name, topic in desired.reads.items()},
        "writes": {name: _spec(topic) for name, topic in desired.writes.items()},
        "flink": FLINK,
        "connector": KAFKA_CONNECTOR,
        "pipeline": PIPELINE,
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()


def _spec(topic: Kafka) -> dict[str, Any]:
    return {
        "columns": columns(topic.record),
        "scalar_text": scalar_text_paths(topic.record),
        "key": topic.key,
        "event_time": topic.event_time,
        "every_record": topic.every_record,
    }


def _code(file: Path) -> str:
    return _digest(file, content(file))


@lru_cache(maxsize=1024)
def _digest(file: Path, _content: bytes) -> str:
    """Of a file with this content: many jobs share few modules."""
    tree = parse(file)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # Strings that stand alone are for readers: docstrings, and notes behind a field.
            node.body = [
                statement
                for statement in node.body
                if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
            ]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
