"""The Airflow plugin: the timetable of the backfill DAGs, and the fleet page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

from sluice.airflow.timetable import IntervalsOnRequest

PREFIX = "/sluice"
"""The page's path below Airflow's own address."""
ROUTE = "fleet"
"""The page's route in Airflow's navigation: `plugin/fleet`."""
_Message = MutableMapping[str, Any]


class LazyPage:
    """The page's application, imported at its first request, since every process of Airflow loads the plugin."""

    @cached_property
    def _app(self) -> Callable[..., Awaitable[None]]:
        from sluice.airflow.page.app import create_app  # noqa: PLC0415

        return create_app(ROUTE)

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Answer a request."""
        await self._app(scope, receive, send)


def page_address() -> str:
    """The path of the page, including the path of Airflow's base URL."""
    base = urlsplit(conf.get("api", "base_url", fallback="") or "").path.rstrip("/")
    return f"{base}{PREFIX}/"


class SluicePlugin(AirflowPlugin):
    """The entry point `airflow.plugins`."""

    name = "sluice"
    timetables = [IntervalsOnRequest]  # noqa: RUF012 - as Airflow wants it
    fastapi_apps = [{"app": LazyPage(), "url_prefix": PREFIX, "name": "Sluice's fleet page"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "Fleet",
            "href": page_address(),
            "destination": "nav",
            "url_route": ROUTE,
            "nav_top_level": True,
            "icon": f"{page_address()}static/icon.svg",
            "icon_dark_mode": f"{page_address()}static/icon-dark.svg",
        }
    ]
