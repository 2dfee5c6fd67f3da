"""Medians, the table and the JSON of all benchmarks."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from sluice.terminal import print_table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Measure:
    """A figure and its baseline, both medians of `runs` measurements in the same benchmark."""

    measure: str
    value: float
    unit: str
    baseline: str
    baseline_value: float
    ratio: float
    runs: int


def against(measure: str, values: list[float], unit: str, baseline: str, baseline_values: list[float]) -> Measure:
    """The medians of both, and the median of the pairs' ratios."""
    ratio = statistics.median(value / base for value, base in zip(values, baseline_values, strict=True))
    return Measure(
        measure,
        round(statistics.median(values), 3),
        unit,
        baseline,
        round(statistics.median(baseline_values), 3),
        round(ratio, 3),
        len(values),
    )


def report(name: str, measures: Iterable[Measure]) -> None:
    """Print the table, and write results/<name>.json."""
    rows = list(measures)
    print_table(
        name,
        ("measure", "value", "unit", "baseline", "its value", "ratio", "runs"),
        [[f"{cell:g}" if isinstance(cell, float) else cell for cell in asdict(row).values()] for row in rows],
    )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
