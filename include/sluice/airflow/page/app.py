"""The page's application, which Airflow's API server serves beneath its own address."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlencode

from airflow.api_fastapi.core_api.security import get_user
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.security import HTTPAuthorizationCredentials
from fastapi.staticfiles import StaticFiles

from sluice.airflow.page.answers import HEADERS
from sluice.airflow.page.routes import router

STATIC = Path(__file__).parent / "static"


def create_app(route: str) -> FastAPI:
    """The application: two pages, their API, and the static files.

    Args:
        route: The page's route in Airflow's navigation, to which the login leads back.
    """
    app = FastAPI(title="Sluice's fleet page", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.route = route
    app.include_router(router)
    app.add_api_route("/", fleet_page, include_in_schema=False)
    app.add_api_route("/job", job_page, include_in_schema=False)
    # Served without a login: the files hold no data.
    app.mount("/static", StaticFiles(directory=STATIC))
    app.middleware("http")(_with_headers)
    return app


async def fleet_page(request: Request) -> Response:
    """The page of all jobs."""
    return await _page(request, "fleet.html")


async def job_page(request: Request) -> Response:
    """The page of one job."""
    return await _page(request, "job.html")


async def _page(request: Request, name: str) -> Response:
    """A page for a user with a login; others are redirected to the login, which leads back to the page."""
    try:
        await get_user(request, None, _bearer(request))
    except HTTPException:
        root = request.scope.get("root_path", "").rpartition("/")[0]
        query = f"?{request.url.query}" if request.url.query else ""
        within = f"{root}/plugin/{request.app.state.route}{request.url.path}{query}"
        return RedirectResponse(f"{root}/api/v2/auth/login?{urlencode({'next': within})}")
    return FileResponse(STATIC / name, headers={"Cache-Control": "no-cache"})


def _bearer(request: Request) -> HTTPAuthorizationCredentials | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return HTTPAuthorizationCredentials(scheme=scheme, credentials=token) if token else None


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.url.path.rpartition("/static/")[1]:
        response.headers.setdefault("Cache-Control", "no-cache")
    return response
