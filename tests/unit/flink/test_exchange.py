"""HTTP requests to a real server."""

import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sluice.flink.access import Access
from sluice.flink.exchange import HttpExchange, NoAnswerError
from tests.support.stacks import free_ports


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        self.server.connections.add(self.client_address)
        if self.path == "/slow":
            self.server.over.wait(10)
        length = int(self.headers.get("Content-Length") or 0)
        echo = f"{self.command} {self.path} {self.headers.get('Authorization')} {self.rfile.read(length).decode()}"
        content = echo.encode()
        self.send_response(302 if self.path == "/moved" else 404 if self.path == "/none" else 200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(content)

    def __getattr__(self, name):
        if name in ("do_GET", "do_POST", "do_PATCH"):
            return self.handle_any
        raise AttributeError(name)

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.over, server.connections = threading.Event(), set()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


def exchange(server, user="", path="", *, seconds=5.0):
    made = HttpExchange(Access.of(f"http://{user}127.0.0.1:{server.server_port}{path}"), 4, (seconds, seconds))
    server.exchange = made
    return made


def test_http_exchange_sends_request_and_returns_answer(server):
    ask = exchange(server)
    assert ask("GET", "/jobs?get=a%5B1%5D,b", None) == (200, b"GET /jobs?get=a%5B1%5D,b None ")
    assert exchange(server, path="/team")("GET", "/jobs", None) == (200, b"GET /team/jobs None ")
    assert ask("POST", "/stop", b'{"a":1}') == (200, b'POST /stop None {"a":1}')
    assert ask("PATCH", "/none", None)[0] == 404
    assert ask("GET", "/moved", None)[0] == 302  # redirects are not followed
    ask.close()


def test_http_exchange_sends_user_and_password(server):
    ask = exchange(server, "me:secret@")
    assert b"Basic bWU6c2VjcmV0" in ask("GET", "/", None)[1]
    ask.close()


def test_threads_share_few_connections(server):
    ask = exchange(server)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: ask("GET", f"/{number}", None)[0], range(40)))
    assert answers == [200] * 40
    assert len(server.connections) <= 4
    ask.close()


def test_http_exchange_without_answer_raises(server):
    ask = exchange(server, seconds=0.2)
    with pytest.raises(NoAnswerError, match="timed out"):
        ask("GET", "/slow", None)
    ask.close()
    [port] = free_ports(1)
    unreachable = HttpExchange(Access.of(f"http://127.0.0.1:{port}"), 1, (1.0, 1.0))
    with pytest.raises(NoAnswerError, match="refused"):
        unreachable("GET", "/", None)
    unreachable.close()


def test_environments_proxy_is_used_unless_no_proxy_has_the_host(server, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("no_proxy", "flink.inside")
    through = HttpExchange(Access("http://flink.outside:8081"), 1, (1.0, 1.0))
    assert through("GET", "/jobs", None) == (200, b"GET http://flink.outside:8081/jobs None ")
    through.close()
    direct = HttpExchange(Access("http://flink.inside:8081"), 1, (0.2, 0.2))
    with pytest.raises(NoAnswerError):
        direct("GET", "/jobs", None)
    direct.close()
