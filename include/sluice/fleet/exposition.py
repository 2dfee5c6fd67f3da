"""The last sweep as metrics in Prometheus' text format: for a scrape, or for a text file collector."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sluice.fleet.readings import SPLIT_FIELDS
from sluice.health.verdict import VerdictState
from sluice.ledger.samples import Sample

_LAG = SPLIT_FIELDS.index("lag")


@dataclass(frozen=True)
class _Gauge:
    """A metric with one value for each job."""

    name: str
    meaning: str
    value: Callable[[Sample], float | None]


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


_GAUGES = (
    _Gauge("sluice_job_consumer_lag_records", "Records behind, over all partitions.", lambda s: s.consumer_lag),
    _Gauge("sluice_job_consumer_lag_per_second", "Records per second by which the lag rises.", lambda s: s.lag_per_s),
    _Gauge("sluice_job_watermark_lag_seconds", "Wall clock less watermark.", lambda s: _seconds(s.watermark_lag_ms)),
    _Gauge("sluice_job_records_in_per_second", "What the sources read.", lambda s: s.records_in_per_s),
    _Gauge("sluice_job_records_out_per_second", "What the sinks send.", lambda s: s.records_out_per_s),
    _Gauge("sluice_job_dead_letters_per_minute", "Malformed records.", lambda s: s.dead_letters_per_min),
    _Gauge("sluice_job_malformed_per_second", "Records that break their contract.", lambda s: s.malformed_per_s),
    _Gauge("sluice_job_late_per_second", "Left out for their event time.", lambda s: s.late_per_s),
    _Gauge("sluice_job_checkpoint_age_seconds", "Since the newest one.", lambda s: _seconds(s.checkpoint_age_ms)),
    _Gauge("sluice_job_checkpoint_duration_seconds", "Of the newest.", lambda s: _seconds(s.checkpoint_duration_ms)),
    _Gauge("sluice_job_checkpoint_size_bytes", "Of the newest checkpoint.", lambda s: s.checkpoint_bytes),
    _Gauge("sluice_job_restarts", "Since the job was submitted.", lambda s: s.restarts),
    _Gauge("sluice_job_recent_restarts", "In the last ten minutes.", lambda s: s.recent_restarts),
    _Gauge("sluice_job_release", "The release that runs.", lambda s: s.release),
    _Gauge("sluice_job_drift", "1: it differs from its release.", lambda s: None if s.drift is None else int(s.drift)),
)


def render(samples: Iterable[Sample]) -> str:
    """The samples of one sweep as text; figures that aren't known are left out."""
    rows = list(samples)
    lines: list[str] = []
    _add(
        lines,
        "sluice_job_verdict",
        "1 for the verdict that the job has, 0 for the others.",
        [({**_labels(row), "verdict": state}, int(row.verdict == state)) for row in rows for state in VerdictState],
    )
    for gauge in _GAUGES:
        known = [(_labels(row), gauge.value(row)) for row in rows]
        _add(lines, gauge.name, gauge.meaning, [(labels, value) for labels, value in known if value is not None])
    _add(lines, "sluice_partition_lag_records", "Records behind.", [pair for row in rows for pair in _partitions(row)])
    _add(
        lines,
        "sluice_sweep_timestamp_seconds",
        "When the sweep began.",
        [({"environment": row.environment}, row.at.timestamp()) for row in rows[:1]],
    )
    return "".join(f"{line}\n" for line in lines)


def metrics_file(home: Path, environment: str) -> Path:
    """The file with the metrics of an environment's last sweep."""
    return home / "metrics" / f"{environment}.prom"


def write_metrics(home: Path, environment: str, samples: Iterable[Sample]) -> Path:
    """Write the metrics of a sweep, atomically: a reader finds the old file or the new one."""
    file = metrics_file(home, environment)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}")
    part.write_text(render(samples), encoding="utf-8")
    part.replace(file)
    return file


def _labels(sample: Sample) -> dict[str, str]:
    return {"environment": sample.environment, "job": sample.job}


def _partitions(sample: Sample) -> Iterable[tuple[dict[str, str], float]]:
    for topic, partitions in ((sample.readings or {}).get("splits") or {}).items():
        for number, values in partitions.items():
            if values[_LAG] is not None:
                yield {**_labels(sample), "topic": topic, "partition": number}, values[_LAG]


def _add(lines: list[str], name: str, meaning: str, values: Iterable[tuple[Mapping[str, str], float]]) -> None:
    found = list(values)
    if not found:
        return
    lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge"]
    for labels, value in found:
        text = ",".join(f'{label}="{_escaped(content)}"' for label, content in labels.items())
        lines.append(f"{name}{{{text}}} {value!r}")


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
