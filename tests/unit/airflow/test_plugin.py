"""The plugin: it loads few modules, and links the page in the navigation."""

import runpy

import pytest
from airflow import plugins_manager

from sluice.airflow import plugin
from tests.support.own_process import run_module


@pytest.mark.parametrize(
    ("base", "page"),
    [("http://127.0.0.1:8080", "/sluice/"), ("https://data.example.org/airflow/", "/airflow/sluice/")],
)
def test_airflows_navigation_links_to_the_page_below_its_base_url(monkeypatch, base, page):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base)
    # Executed again: Airflow imports the module once, and reads the addresses then.
    [view] = runpy.run_path(plugin.__file__)["SluicePlugin"].external_views
    assert (view["href"], view["url_route"], view["destination"]) == (page, "fleet", "nav")
    assert view["icon"].startswith(f"{page}static/")


def test_airflow_finds_the_page_in_the_plugin():
    [view] = [view for view in plugins_manager._get_ui_plugins()[0] if view["name"] == "Fleet"]
    assert view["href"] == plugin.SluicePlugin.external_views[0]["href"]
    [app] = [app for app in plugins_manager.get_fastapi_plugins()[0] if app["url_prefix"] == "/sluice"]
    assert callable(app["app"])


def test_plugin_loads_neither_the_page_nor_the_ledger(tmp_path):
    """Each process of a task loads the plugin, and serves no page."""
    loaded = run_module("tests.support.loaded_modules", tmp_path, "sluice.airflow.plugin").stdout.split()
    assert "sluice.airflow.plugin" in loaded
    assert [name for name in loaded if "page" in name or "ledger" in name] == []
