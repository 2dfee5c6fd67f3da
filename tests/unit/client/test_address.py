"""Where Flink's own client connects, and how it logs in."""

import pytest

from sluice.client.address import HEADERS, login_variables, rest_options
from sluice.flink.access import Access


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


def test_a_login_goes_by_the_environment_beside_the_headers_that_are_there():
    assert login_variables(Access("http://flink"), {HEADERS: "X-Team:one"}) == {}
    access = Access("http://flink", token="planted")
    assert login_variables(access, {}) == {HEADERS: "Authorization:Bearer planted"}
    assert login_variables(access, {HEADERS: "X-Team:one\n"}) == {HEADERS: "X-Team:one\nAuthorization:Bearer planted"}
