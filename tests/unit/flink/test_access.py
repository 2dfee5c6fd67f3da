"""Login and TLS, with a real server."""

import http.server
import threading

import pytest

from sluice.errors import ConfigError, FlinkError, UnreachableError
from sluice.flink import calls
from sluice.flink.access import Access, Tls
from sluice.flink.client import FlinkClient
from tests.support.proxy import proxy_before

OVERVIEW = b'{"taskmanagers": 1, "slots-total": 4, "slots-available": 3, "flink-version": "2.3.0"}'


@pytest.fixture
def cluster(monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(OVERVIEW)))
            self.end_headers()
            self.wfile.write(OVERVIEW)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def ask(access):
    with FlinkClient(access, pauses=()) as flink:
        return flink.send(calls.overview()).slots_total


def test_user_and_password_are_removed_from_the_address():
    access = Access.of("https://me:p%40s@flink:8443/team/")
    assert (access.url, access.user, access.password) == ("https://flink:8443/team", "me", "p@s")
    assert "p@s" not in f"{access} {access!r}"
    assert access.authorization == "Basic bWU6cEBz"
    assert Access.of("http://flink:8081/").url == "http://flink:8081"
    assert Access("http://flink").authorization is None


@pytest.mark.parametrize(
    "login", [{"user": "me", "password": "planted"}, {"token": "planted"}], ids=["password", "token"]
)
def test_trusted_cluster_accepts_a_login(cluster, tmp_path, login):
    header = Access("x", **login).authorization
    with proxy_before(tmp_path / "proxy", cluster, header) as proxy:
        url, tls = f"https://127.0.0.1:{proxy.port}", Tls(ca_bundle=str(proxy.ca))
        assert ask(Access(url, tls=tls, **login)) == 4
        with pytest.raises(
            FlinkError, match=r"denies access: 401 .*set a login with the permission in the Flink connection"
        ) as caught:
            ask(Access(url, user="me", password="planted too", tls=tls))
        assert "planted" not in str(caught.value)


def test_untrusted_cluster_differs_from_one_that_does_not_answer(cluster, tmp_path):
    with proxy_before(tmp_path / "proxy", cluster) as proxy:
        url = f"https://127.0.0.1:{proxy.port}"
        with pytest.raises(UnreachableError, match=r"no TLS connection .*certificate verify failed.*ca_bundle"):
            ask(Access(url))
        with pytest.warns(match="Unverified HTTPS request"):
            assert ask(Access(url, tls=Tls(verify=False))) == 4
    with pytest.raises(UnreachableError, match="no TLS connection"):
        ask(Access(cluster.replace("http:", "https:")))
    with pytest.raises(UnreachableError, match="does not answer"):
        ask(Access(url))


def test_client_certificate_is_presented_to_the_cluster(cluster, tmp_path):
    with proxy_before(tmp_path / "proxy", cluster, wants_certificate=True) as proxy:
        url, own = f"https://127.0.0.1:{proxy.port}", tmp_path / "own.pem"
        given = {"client_certificate": str(proxy.client_certificate), "client_key": str(proxy.client_key)}
        assert ask(Access(url, tls=Tls(ca_bundle=str(proxy.ca), **given))) == 4
        own.write_bytes(proxy.client_key.read_bytes() + proxy.client_certificate.read_bytes())
        assert ask(Access(url, tls=Tls(ca_bundle=str(proxy.ca), client_certificate=str(own)))) == 4
        with pytest.raises(UnreachableError):
            ask(Access(url, tls=Tls(ca_bundle=str(proxy.ca))))


def test_unusable_certificate_file_is_named(tmp_path):
    (tmp_path / "x.pem").write_text("no PEM")
    for name, file in (("ca_bundle", "x.pem"), ("ca_bundle", "gone.pem"), ("client_certificate", "x.pem")):
        with pytest.raises(ConfigError, match=rf"the Flink cluster's {name} .*{file}.* can't be used"):
            ask(Access("https://flink", tls=Tls(**{name: str(tmp_path / file)})))
