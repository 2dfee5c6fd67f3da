"""Flink's own client has the same access as the REST calls: TLS, certificates, login."""

from collections.abc import Iterator

import pytest

from sluice.client import archive
from sluice.client.address import login_variables
from sluice.client.class_path import CACHE
from sluice.client.process import ClientProcess
from sluice.errors import UnreachableError
from sluice.flink.access import Access, Tls
from sluice.local.flink import gather_jars
from tests.support.proxy import proxy_before
from tests.support.shared_client import SharedClient
from tests.support.stacks import ROOT, local_stack

LOGIN = {"user": "me", "password": "planted"}


@pytest.fixture(scope="module")
def lib(tmp_path_factory):
    return gather_jars(local_stack(tmp_path_factory.mktemp("jars")))


@pytest.fixture(scope="module")
def client(lib) -> Iterator[SharedClient]:
    """Clients that log in, of one JVM: which certificates they trust and present is part of the order."""
    with SharedClient(lib, login_variables(Access("https://127.0.0.1", **LOGIN))) as client:
        yield client


@pytest.fixture
def proxy(tmp_path):
    with archive.cluster() as url:
        with proxy_before(tmp_path / "proxy", url, Access(url, **LOGIN).authorization, wants_certificate=True) as proxy:
            yield proxy


def compile_at(client, proxy, lib, tmp_path, tls, host="127.0.0.1"):
    """Compile the sample; the client asks the cluster something when that is done."""
    access = Access(f"https://{host}:{proxy.port}", **LOGIN, tls=tls)
    own = {CACHE: str(ROOT / ".sluice" / "client"), "FLINK_LIB_DIR": str(lib), "TMPDIR": str(tmp_path)}
    variables = {**own, **login_variables(access)}
    with ClientProcess(client.python, tmp_path / "log", variables=variables) as process:
        return process.prepare(archive.sample_order(access), timeout=180)


def own(proxy):
    return {"client_certificate": str(proxy.client_certificate), "client_key": str(proxy.client_key)}


@pytest.mark.parametrize("verify", [True, False])
def test_client_trusts_the_given_ca_and_presents_its_certificate(client, proxy, lib, tmp_path, verify):
    trusted = {"ca_bundle": str(proxy.ca)} if verify else {"verify": False}
    assert compile_at(client, proxy, lib, tmp_path, Tls(**trusted, **own(proxy))).graph.vertices
    assert proxy.asked == [("GET", "/v1/jobs/overview", True)]
    assert "planted" not in (tmp_path / "log").read_text()
    assert not list(tmp_path.glob("sluice-tls-*"))


@pytest.mark.parametrize(
    ("given", "host", "words"),
    [
        (("own",), "127.0.0.1", "unable to find valid certification path"),
        (("ca", "own"), "localhost", "No name matching localhost found"),
        (("ca",), "127.0.0.1", "certificate_required"),
    ],
)
def test_client_refuses_untrusted_or_mismatched_certificates(client, proxy, lib, tmp_path, given, host, words):
    tls = {**(own(proxy) if "own" in given else {}), **({"ca_bundle": str(proxy.ca)} if "ca" in given else {})}
    with pytest.raises(UnreachableError, match=words):
        compile_at(client, proxy, lib, tmp_path, Tls(**tls), host)
    assert proxy.asked == []
