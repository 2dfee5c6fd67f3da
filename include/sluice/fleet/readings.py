"""Convert snapshots to samples of the ledger, and back, so that the next sweep can compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sluice.fleet.rows import JobObservation
from sluice.health.snapshot import Snapshot, SplitReading
from sluice.ledger.samples import Sample

_SNAPSHOT = TypeAdapter(Snapshot)
_SPLITS = "splits"
SPLIT_FIELDS = ("lag", "watermark_ms", "next_offset", "end", "stalled_since_ms", "is_idle", "is_guessed")
"""The values of a split in a sample, in this order: `readings["splits"][<topic>][<number>]`."""


def to_sample(environment: str, observation: JobObservation, at: datetime, run: str | None = None) -> Sample:
    """A row of a sweep as a sample; `run` is the run of redeploy_and_verify that swept; None: a person did."""
    row = observation.status
    return Sample(
        environment=environment,
        job=row.job,
        at=at,
        run=run,
        flink_job_id=row.flink_job_id,
        release=row.release,
        state=row.state,
        verdict=str(row.verdict),
        reasons=list(row.reasons),
        consumer_lag=row.consumer_lag,
        lag_per_s=row.lag_per_s,
        watermark_lag_ms=row.watermark_lag_ms,
        records_in_per_s=row.records_in_per_s,
        records_out_per_s=row.records_out_per_s,
        dead_letters_per_min=row.dead_letters_per_min,
        malformed_per_s=row.malformed_per_s,
        late_per_s=row.late_per_s,
        checkpoint_age_ms=row.checkpoint_age_ms,
        checkpoint_duration_ms=row.checkpoint_duration_ms,
        checkpoint_bytes=row.checkpoint_bytes,
        restarts=row.restarts,
        recent_restarts=row.recent_restarts,
        drift=row.drift,
        readings=to_readings(observation.snapshot) if observation.snapshot else None,
    )


def to_readings(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as JSON values, without those that have their default."""
    values: dict[str, Any] = _SNAPSHOT.dump_python(replace(snapshot, splits=None), mode="json", exclude_defaults=True)
    if snapshot.splits is not None:
        topics: dict[str, dict[str, list[Any]]] = {}
        for (topic, number), split in snapshot.splits.items():
            topics.setdefault(topic, {})[str(number)] = [getattr(split, name) for name in SPLIT_FIELDS]
        values[_SPLITS] = topics
    return values


def to_snapshot(readings: Mapping[str, Any] | None) -> Snapshot | None:
    """The snapshot in a sample's readings; None: there are none, or another version of Sluice wrote them."""
    if readings is None:
        return None
    try:
        snapshot = _SNAPSHOT.validate_python({key: value for key, value in readings.items() if key != _SPLITS})
        topics = readings.get(_SPLITS)
        if topics is None:
            return snapshot
        splits = {
            (topic, int(number)): SplitReading(**dict(zip(SPLIT_FIELDS, values, strict=True)))
            for topic, partitions in topics.items()
            for number, values in partitions.items()
        }
    except (ValidationError, ValueError):
        return None
    return replace(snapshot, splits=splits)
