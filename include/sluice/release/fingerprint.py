"""The fingerprint of a release: a digest of everything that decides how the job runs, and nothing else."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Container
from functools import lru_cache
from pathlib import Path
from typing import Any

from sluice.deployment.desired import DesiredJob
from sluice.job.record import columns, scalar_text_paths
from sluice.job.topic import Kafka
from sluice.release.modules import content, job_modules, parse
from sluice.release.versions import CURRENT, Versions


def fingerprint(root: Path, desired: DesiredJob, known: Container[str] = (), versions: Versions = CURRENT) -> str:
    """SHA-256, in hexadecimal, over the job's modules, settings and records, and the versions of Flink and connector.

    Comments, docstrings and formatting of the code don't count. Owner, tags and health limits don't either: they take
    effect without a restart of the job.

    Args:
        root: The project's directory.
        desired: The job.
        known: Fingerprints of releases. One that differs only by an older version of the code that Sluice generates
            (`PIPELINE`) is returned as it is, so that upgrading Sluice restarts no job.
        versions: The versions.
    """
    decisive = {
        "code": {name: _code(file) for name, file in job_modules(root, desired.job.module).items()},
        "values": desired.values(),
        "reads": {name: _spec(topic) for name, topic in desired.reads.items()},
        "writes": {name: _spec(topic) for name, topic in desired.writes.items()},
        "flink": versions.flink,
        "connector": versions.kafka_connector,
    }
    candidates = [_sha256({**decisive, "pipeline": version}) for version in range(versions.pipeline, 0, -1)]
    return next((each for each in candidates if each in known), candidates[0])


def _sha256(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


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
    """The digest of a file with this content; cached, since jobs share modules."""
    tree = parse(file)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            # Strings as statements are docstrings, of a module, class, function or field.
            node.body = [
                statement
                for statement in node.body
                if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant))
            ]
    return hashlib.sha256(_form(tree).encode()).hexdigest()


def _form(node: object) -> str:
    """A syntax tree as text, equal in every Python version: as `ast.dump` of Python 3.11 writes it."""
    if isinstance(node, list):
        return f"[{', '.join(map(_form, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(name, getattr(node, name, None)) for name in node._fields]
    if isinstance(node, ast.JoinedStr):
        # Python 3.12 adds an empty string after a format that ends with a value.
        parts = [part for part in node.values if not (isinstance(part, ast.Constant) and part.value == "")]
        fields = [("values", parts)]
    texts = [f"{name}={_form(value)}" for name, value in fields if not _is_left_out(node, name, value)]
    return f"{type(node).__name__}({', '.join(texts)})"


def _is_left_out(node: ast.AST, name: str, value: object) -> bool:
    """Whether a field is optional and missing; `type_params`, which 3.11 doesn't have, also if it is empty."""
    is_constant = isinstance(node, ast.Constant | ast.MatchSingleton) and name == "value"
    return (value is None and not is_constant) or (name == "type_params" and not value)
