"""The last sweep as metrics in Prometheus' text format: for a scrape, or for a text file collector."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sluice.fleet.readings import SPLIT_FIELDS
from sluice.health.verdict import VerdictState
from sluice.ledger.samples import Sample

if TYPE_CHECKING:
    from prometheus_client import Metric

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


class _SweepCollector:
    """The metrics of one sweep, as prometheus-client collects them; figures that aren't known are left out."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = list(samples)

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its values; a metric without values is left out."""
        verdicts = [
            ({**_labels(sample), "verdict": str(state)}, int(sample.verdict == state))
            for sample in self._samples
            for state in VerdictState
        ]
        yield from _gauge("sluice_job_verdict", "1 for the verdict that the job has, 0 for the others.", verdicts)
        for gauge in _GAUGES:
            known = [(_labels(sample), gauge.value(sample)) for sample in self._samples]
            values = [(labels, value) for labels, value in known if value is not None]
            yield from _gauge(gauge.name, gauge.meaning, values)
        lags = [pair for sample in self._samples for pair in _partitions(sample)]
        yield from _gauge("sluice_partition_lag_records", "Records behind.", lags)
        began = [({"environment": sample.environment}, sample.at.timestamp()) for sample in self._samples[:1]]
        yield from _gauge("sluice_sweep_timestamp_seconds", "When the sweep began.", began)


def render(samples: Iterable[Sample]) -> str:
    """The samples of one sweep in Prometheus' text format."""
    # Importing it takes 60 ms, which most commands can do without.
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415

    registry = CollectorRegistry()
    registry.register(_SweepCollector(samples))
    return generate_latest(registry).decode()


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


def _gauge(name: str, meaning: str, values: Sequence[tuple[Mapping[str, str], float]]) -> Iterator[Metric]:
    from prometheus_client import Metric  # noqa: PLC0415

    if values:
        metric = Metric(name, meaning, "gauge")
        for labels, value in values:
            metric.add_sample(name, dict(labels), value)
        yield metric
