"""The plugin: it loads few modules, and links the page in the navigation; in a process of its own."""

import json

import pytest

from tests.support.own_process import run_script

SCRIPT = """
import json, sys
from airflow import plugins_manager
from sluice.airflow.plugin import SluicePlugin
before = {name for name in sys.modules if name.startswith("sluice.")}
[view] = [view for view in plugins_manager._get_ui_plugins()[0] if view["name"] == "Fleet"]
[app] = [app for app in plugins_manager.get_fastapi_plugins()[0] if app["url_prefix"] == "/sluice"]
assert callable(app["app"])
print(json.dumps([view, sorted(before)]))
"""


@pytest.mark.parametrize(
    ("base", "page"),
    [("http://127.0.0.1:8080", "/sluice/"), ("https://data.example.org/airflow/", "/airflow/sluice/")],
)
def test_airflows_navigation_links_to_the_page(tmp_path, base, page):
    done = run_script(SCRIPT, tmp_path, unloaded=("sluice",), AIRFLOW__API__BASE_URL=base)
    view, loaded = json.loads(done.stdout.splitlines()[-1])
    assert (view["href"], view["url_route"], view["destination"]) == (page, "fleet", "nav")
    assert view["icon"].startswith(f"{page}static/")
    # Each task's process loads the plugin without the page, which it doesn't serve.
    assert [name for name in loaded if "page" in name or "ledger" in name] == []
