"""A proxy with TLS and a login before a Flink cluster: what stands before many a real one."""

import http.client
import ssl
import threading
from collections.abc import Callable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from sluice.local.layout import HOST
from tests.support.certificates import self_signed

_PASSED_ON = ("content-type", "accept")


class Proxy:
    """Passes requests on once they have logged in.

    Attributes:
        port: Where it listens.
        ca: Its certificate, which signs itself.
        asked: Method, path and whether it was let through, of each request.
        before: Called with method and path of each request that is let through, before it is passed on.
        answered: Method, path, status and body of each answer that was passed on.
    """

    def __init__(self, directory: Path, target: str, authorization: str | None, *, wants_certificate: bool) -> None:
        self.target = urlsplit(target)
        self.authorization = authorization
        self.asked: list[tuple[str, str, bool]] = []
        self.before: Callable[[str, str], None] = lambda _method, _path: None
        self.answered: list[tuple[str, str, int, bytes]] = []
        self.ca, self.client_certificate, self.client_key = (
            directory / name for name in ("ca.pem", "client.pem", "client.key")
        )
        key, certificate = self_signed()
        self.ca.write_text(certificate)
        (directory / "own.key").write_text(key)
        client_key, client_certificate = self_signed()
        self.client_certificate.write_text(client_certificate)
        self.client_key.write_text(client_key)
        self.server = ThreadingHTTPServer((HOST, 0), self._handler())
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.ca, directory / "own.key")
        if wants_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.client_certificate)
        # The handshake is each connection's own thread's: one that doesn't trust us stops nobody else.
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_port

    def _handler(self):
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self):
                try:
                    super().handle()
                except (ssl.SSLError, ConnectionError):
                    self.close_connection = True

            def pass_on(self):
                body = _body(self)
                may = proxy.authorization in (None, self.headers.get("Authorization"))
                proxy.asked.append((self.command, self.path, may))
                status, kind, content = proxy.ask(self, body) if may else (401, "text/plain", b"who are you?")
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = pass_on  # noqa: N815 - what the base class calls

            def log_message(self, *_arguments):
                pass

        return Handler

    def ask(self, request, body):
        self.before(request.command, request.path)
        headers = {name: value for name, value in request.headers.items() if name.lower() in _PASSED_ON}
        connection = http.client.HTTPConnection(self.target.hostname, self.target.port, timeout=60)
        try:
            connection.request(request.command, request.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            self.answered.append((request.command, request.path, answer.status, content))
            return answer.status, answer.headers.get("Content-Type", "application/json"), content
        finally:
            connection.close()


def _body(request):
    if request.headers.get("Transfer-Encoding", "").lower() != "chunked":
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))
    body = b""
    while size := int(request.rfile.readline().split(b";")[0], 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


@contextmanager
def proxy_before(directory: Path, target: str, authorization: str | None = None, *, wants_certificate: bool = False):
    """A proxy before the address; it lets those through who send this header `Authorization`."""
    directory.mkdir(exist_ok=True)
    proxy = Proxy(directory, target, authorization, wants_certificate=wants_certificate)
    threading.Thread(target=proxy.server.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.server.shutdown()
        proxy.server.server_close()
