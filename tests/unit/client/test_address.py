"""Where Flink's own client connects for an address that httpx takes as well."""

import pytest

from sluice.client.address import rest_options


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8081", {"rest.address": "127.0.0.1", "rest.port": "8081"}),
        ("http://flink", {"rest.address": "flink", "rest.port": "80"}),
        (
            "https://flink.example.org",
            {"rest.address": "flink.example.org", "rest.port": "443", "security.ssl.rest.enabled": "true"},
        ),
        ("http://flink:80/team/one", {"rest.address": "flink", "rest.port": "80", "rest.path": "/team/one"}),
        ("http://[::1]:8081/", {"rest.address": "[::1]", "rest.port": "8081"}),
    ],
)
def test_an_address_as_flink_takes_it(url, expected):
    assert rest_options(url) == expected
