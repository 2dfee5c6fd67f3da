"""The page's API. Its responses come from the ledger; `difference` and `desired` also read files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from sluice.airflow.page.access import Viewer, ViewerDep
from sluice.airflow.page.answers import answer
from sluice.airflow.page.shared import BusyError, SharedReadings
from sluice.airflow.projects import settings_of
from sluice.errors import OperationError, SluiceError
from sluice.fleet.page.curves import read_curves
from sluice.fleet.page.desired import read_deployed_release, read_desired
from sluice.fleet.page.difference import read_difference
from sluice.fleet.page.fleet import read_fleet, read_row, with_rows
from sluice.fleet.page.job import read_job
from sluice.fleet.page.models import Difference, FleetRow, JobView
from sluice.fleet.page.timeline import read_timeline
from sluice.ledger.ledger import Ledger
from sluice.settings import Settings

LONGEST = timedelta(days=31)
"""The longest span of a timeline."""
Job = Annotated[str, Query(min_length=1, max_length=255)]

router = APIRouter(prefix="/api")


class JobAnswer(BaseModel):
    """A job, and the viewer's permissions for it."""

    job: JobView
    may_trigger: bool
    """Whether the viewer may trigger deploy.<job>."""
    may_replay: bool
    """Whether the viewer may trigger backfill.<job>."""
    may_see_code: bool


@dataclass(frozen=True)
class _Place:
    """The settings and the ledger that the page reads; it never changes the ledger, nor migrates its schema."""

    settings: Settings
    ledger: Ledger

    @property
    def of(self) -> tuple[str, Path]:
        """The environment, and the directory of the project."""
        return self.settings.environment, self.settings.root


@router.get("/fleet")
def fleet(request: Request, viewer: ViewerDep) -> Response:
    """Every job that the viewer may see."""
    with _ledger() as (session, page):
        found = read_fleet(session, *page.of)
    return answer(request, with_rows(found, viewer.visible(found.rows)))


@router.get("/curves")
def curves(request: Request, viewer: ViewerDep) -> Response:
    """The small curves of each job's last samples."""
    with _ledger() as (session, page):
        return answer(request, read_curves(session, page.settings.environment, viewer.may_see))


@router.get("/job")
def job(request: Request, viewer: ViewerDep, name: Job) -> Response:
    """One job."""
    with _ledger() as (session, page):
        _row(session, page, viewer, name)
        view = read_job(session, *page.of, name)
    if view is None:
        raise _unknown(name)
    permitted = JobAnswer(
        job=view,
        may_trigger=viewer.may_trigger(f"deploy.{name}"),
        may_replay=viewer.may_trigger(f"backfill.{name}"),
        may_see_code=viewer.may_see_code(name),
    )
    return answer(request, permitted)


@router.get("/timeline")
def timeline(
    request: Request, viewer: ViewerDep, name: Job, since: datetime, until: datetime | None = None
) -> Response:
    """The job's samples between two moments; `until` defaults to now."""
    end = _utc(until) if until else datetime.now(UTC)
    begin = _utc(since)
    if not timedelta(0) < end - begin <= LONGEST:
        raise HTTPException(422, f"expected a span of at most {LONGEST.days} days that ends after it begins")
    with _ledger() as (session, page):
        _row(session, page, viewer, name)
        return answer(request, read_timeline(session, page.settings.environment, name, begin, end))


@router.get("/difference")
async def difference(
    request: Request,
    viewer: ViewerDep,
    name: Job,
    new: Annotated[int, Query(ge=1)],
    old: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """The differences of two releases; 503 with Retry-After while they are being read."""
    page, sees_code, _ = await run_in_threadpool(_permitted, viewer, name)

    def read() -> Difference:
        with page.ledger.reading() as session:
            return read_difference(session, page.settings.environment, name, (old, new), page.settings.artifacts)

    with _http_errors():
        found = await _readings.get(("difference", name, old, new), read)
    return answer(request, found if sees_code else _without_code(found))


@router.get("/desired")
async def desired(request: Request, viewer: ViewerDep, name: Job) -> Response:
    """The differences of the running release and the files; 503 with Retry-After while they are being read."""
    page, sees_code, placed = await run_in_threadpool(_permitted, viewer, name, read_deployed_release)
    with _http_errors():
        found = await _readings.get(("desired", placed.model_dump_json()), lambda: read_desired(page.settings, placed))
    return answer(request, found if sees_code else _without_code(found))


_readings = SharedReadings()
"""Readings of files, which take longer than those of the ledger."""


def _permitted(
    viewer: Viewer, name: str, read: Callable[[Session, str, str], Any] = lambda *_: None
) -> tuple[_Place, bool, Any]:
    """Refuse a viewer who may not see the job, before any work for the request.

    Returns:
        Where to read, whether the viewer may see the job's code, and what `read` has read from the ledger.
    """
    with _ledger() as (session, page):
        _row(session, page, viewer, name)
        found = read(session, page.settings.environment, name)
    return page, viewer.may_see_code(name), found


def _without_code(found: Difference) -> Difference:
    return found.model_copy(update={"files": (), "code": "you may not read the code of this DAG"})


@contextmanager
def _ledger() -> Iterator[tuple[Session, _Place]]:
    with _http_errors():
        page = _place()
        with page.ledger.reading() as session:
            yield session, page


@contextmanager
def _http_errors() -> Iterator[None]:
    """Turn errors into responses with their message: 409 if the request can't be answered, 503 for an outage."""
    try:
        yield
    except BusyError as error:
        raise HTTPException(503, str(error), headers={"Retry-After": str(error.retry_after)}) from error
    except OperationError as error:
        raise HTTPException(409, str(error)) from error
    except SluiceError as error:
        raise HTTPException(503, str(error)) from error
    except OperationalError as error:
        raise HTTPException(503, f"the ledger does not answer: {error.orig}") from error


@lru_cache(maxsize=1)
def _place() -> _Place:
    settings = settings_of(None, None)
    return _Place(settings, Ledger(settings.ledger, settings.environment, migrates=False))


def _row(session: Session, page: _Place, viewer: Viewer, name: str) -> FleetRow:
    row = read_row(session, *page.of, name)
    if row is None:
        raise _unknown(name)
    viewer.refuse_unseen(row)
    return row


def _unknown(name: str) -> HTTPException:
    return HTTPException(404, f"there is no job named {name!r}")


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
