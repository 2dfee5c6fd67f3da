"""Airflow connections of type `flink`: the access that they give, and errors without secrets."""

import json

import pytest

from sluice.errors import ConfigError
from sluice.flink.access import Access, Tls
from sluice.flink.connection import Connection, from_environment


def connection(**fields) -> Connection:
    return Connection("team", **{"kind": "flink", "host": "flink.example.org", **fields})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Access("http://flink.example.org")),
        ({"port": 8081, "extra": {"path": "/team/", "token": ""}}, Access("http://flink.example.org:8081/team")),
        ({"host": "::1", "port": 8081}, Access("http://[::1]:8081")),
        (
            {"schema": "https", "login": "me", "password": "planted", "extra": {"ca_bundle": "/ca.pem"}},
            Access("https://flink.example.org", "me", "planted", tls=Tls(ca_bundle="/ca.pem")),
        ),
        (
            {"schema": "https", "extra": {"token": "planted", "verify": "false"}},
            Access("https://flink.example.org", token="planted", tls=Tls(verify=False)),
        ),
        (
            {"schema": "https", "extra": {"client_certificate": "/c", "client_key": "/k", "verify": True}},
            Access("https://flink.example.org", tls=Tls(client_certificate="/c", client_key="/k")),
        ),
    ],
)
def test_connection_fields_give_the_access(fields, expected):
    assert connection(**fields).access() == expected


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": "http"}, "its type is http, expected flink"),
        ({"host": None}, "its host is missing"),
        ({"host": "https://flink"}, "its host is 'https://flink', expected only a host name or an IP address"),
        ({"host": "me:planted@flink"}, "its host is '***@flink'"),
        ({"schema": "ftp"}, "its schema is 'ftp', expected http or https"),
        ({"extra": {"ca_bundel": "x"}}, "its extra has 'ca_bundel', expected one of path, token, verify"),
        ({"extra": {"token": "planted"}, "login": "me"}, "it has a token and a login"),
        ({"extra": {"token": "planted\nX-Other: 1"}}, "its token has spaces, line ends"),
        ({"password": "planted"}, "it has a password and no login"),
        ({"extra": {"ca_bundle": "/ca.pem"}}, "it has TLS settings, and its schema is not https"),
        ({"schema": "https", "extra": {"client_key": "/k"}}, "it has a client_key and no client_certificate"),
        ({"schema": "https", "extra": {"verify": "perhaps"}}, "its verify is 'perhaps', expected true or false"),
        ({"extra": {"path": "/a?b"}}, "its path is 'a?b'"),
    ],
)
def test_invalid_flink_connection_is_refused(fields, words):
    with pytest.raises(ConfigError, match="Flink connection team: ") as caught:
        connection(**fields).access()
    assert words in str(caught.value)
    assert "planted" not in str(caught.value)


FIELDS = {"conn_type": "flink", "host": "flink", "port": 8443, "schema": "https", "login": "me", "password": "p/@:%"}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({**FIELDS, "extra": {"path": "team"}}),
        json.dumps({**FIELDS, "port": "8443", "extra": json.dumps({"path": "team"})}),
        "flink://me:p%2F%40%3A%25@flink:8443/https?path=team",
        "flink://me:p%2F%40%3A%25@flink:8443/https?__extra__=%7B%22path%22%3A+%22team%22%7D",
    ],
)
def test_connection_is_read_from_the_environment_as_by_airflow(text):
    access = from_environment("flink_default", {"AIRFLOW_CONN_FLINK_DEFAULT": text}).access()
    assert access == Access("https://flink:8443/team", "me", "p/@:%")


def test_missing_connection_names_its_variable():
    with pytest.raises(
        ConfigError, match="Flink connection team-a is not defined in this environment: AIRFLOW_CONN_TEAM-A is not set"
    ):
        from_environment("team-a", {})


@pytest.mark.parametrize("text", ['{"password": "planted"', '{"extra": "[1]"}', "flink://me:planted@flink:x/", "{}x"])
def test_malformed_connection_is_not_shown(text):
    with pytest.raises(ConfigError, match="AIRFLOW_CONN_TEAM is neither the JSON nor the URI") as caught:
        from_environment("team", {"AIRFLOW_CONN_TEAM": text})
    assert "planted" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
