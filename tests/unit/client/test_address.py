"""The options and login of Flink's REST client."""

import pytest

from sluice.client.address import HEADERS, login_variables, rest_options
from sluice.flink.access import Access


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8081", {"rest.address": "127.0.0.1", "rest.port": "8081"}),
        ("http://flink", {"rest.address": "flink", "rest.port": "80"}),
        ("http://flink:80/team/one", {"rest.address": "flink", "rest.port": "80", "rest.path": "/team/one"}),
        ("http://[::1]:8081/", {"rest.address": "[::1]", "rest.port": "8081"}),
    ],
)
def test_rest_options_of_a_cluster_address(url, expected):
    assert rest_options(url) == expected


def test_login_is_added_to_existing_rest_client_headers():
    assert login_variables(Access("http://flink"), {HEADERS: "X-Team:one"}) == {}
    access = Access("http://flink", token="planted")
    assert login_variables(access, {}) == {HEADERS: "Authorization:Bearer planted"}
    assert login_variables(access, {HEADERS: "X-Team:one\n"}) == {HEADERS: "X-Team:one\nAuthorization:Bearer planted"}


def test_https_address_allows_rsa_and_ecdsa_certificates():
    options = rest_options("https://flink.example.org")
    assert (options["rest.port"], options["security.ssl.rest.enabled"]) == ("443", "true")
    assert options["jobmanager.rpc.address"] == "flink.example.org"
    assert options["security.ssl.rest.verify-hostname"] == "true"
    assert options["security.ssl.protocol"] == "TLSv1.3,TLSv1.2"
    assert "_ECDSA_" in options["security.ssl.algorithms"]
    assert "_RSA_" in options["security.ssl.algorithms"]
