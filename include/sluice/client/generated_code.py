"""Code that Flink's planner has generated, made comparable."""

from __future__ import annotations

import re

_ADD = re.compile(rb"set\$\d+\.add\(.*?\);")
"""A literal of an IN put into its set (Flink's ScalarOperatorGens.generateIn)."""


def normalise_generated_code(code: bytes) -> bytes:
    """The same code, with what is put into sets in one order.

    Flink takes an IN's literals in an order that hangs on their types' identity hashes, which differ from process to
    process: one job compiles to several texts that do the same.
    """
    ordered = iter(sorted(_ADD.findall(code)))
    return _ADD.sub(lambda _match: next(ordered), code)
