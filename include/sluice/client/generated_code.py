"""Normalise code that Flink's planner generates, so that two compilations of a job can be compared."""

from __future__ import annotations

import re

_ADD = re.compile(rb"set\$\d+\.add\(.*?\);")
"""A statement that adds a literal of an IN to its set (Flink's ScalarOperatorGens.generateIn)."""


def normalise_generated_code(code: bytes) -> bytes:
    """The code with the statements that fill the sets of INs in sorted order.

    Flink orders an IN's literals by identity hashes of their types, which differ between processes. So one job compiles
    to different but equivalent code.
    """
    ordered = iter(sorted(_ADD.findall(code)))
    return _ADD.sub(lambda _match: next(ordered), code)
