"""Certificate stores for Flink's Java client."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from sluice.client.stores import tls_options
from sluice.errors import ConfigError, UnreachableError
from sluice.flink.access import Tls
from tests.support.certificates import self_signed
from tests.support.proxy import proxy_before

KEY, CERTIFICATE = self_signed()


@pytest.fixture
def files(tmp_path):
    (tmp_path / "ca.pem").write_text(CERTIFICATE + self_signed()[1])
    (tmp_path / "own.pem").write_text(CERTIFICATE)
    (tmp_path / "own.key").write_text(KEY)
    return tmp_path


def load(options, kind):
    name = f"security.ssl.rest.{kind}"
    assert options[f"{name}-type"] == "PKCS12"
    return pkcs12.load_pkcs12(Path(options[name]).read_bytes(), options[f"{name}-password"].encode())


def test_default_tls_settings_need_no_java_store():
    for url in ("http://flink", "https://flink"):
        with tls_options(url, Tls()) as options:
            assert options == {}


def test_java_stores_are_private_temporary_and_have_the_certificates(files):
    tls = Tls(
        ca_bundle=str(files / "ca.pem"),
        client_certificate=str(files / "own.pem"),
        client_key=str(files / "own.key"),
    )
    with tls_options("https://flink", tls) as options:
        assert len(load(options, "truststore").additional_certs) == 2
        own = load(options, "keystore")
        assert own.cert.certificate.public_key() == own.key.public_key()
        assert options["security.ssl.rest.authentication-enabled"] == "true"
        assert options["security.ssl.rest.verify-hostname"] == "true"
        directory = Path(options["security.ssl.rest.keystore"]).parent
        assert directory.stat().st_mode & 0o077 == 0
    assert not directory.exists()


def test_without_verification_the_clusters_certificate_is_trusted(tmp_path):
    with proxy_before(tmp_path / "proxy", "http://127.0.0.1:1") as proxy:
        with tls_options(f"https://127.0.0.1:{proxy.port}", Tls(verify=False)) as options:
            [shown] = load(options, "truststore").additional_certs
            assert options["security.ssl.rest.verify-hostname"] == "false"
        port = proxy.port
    assert shown.certificate.public_bytes(pkcs12.serialization.Encoding.PEM).decode() == proxy.ca.read_text()
    with pytest.raises(UnreachableError, match="presents no certificate"):
        with tls_options(f"https://127.0.0.1:{port}", Tls(verify=False)):
            pass


@pytest.mark.parametrize(("name", "words"), [("ca_bundle", "ca_bundle"), ("client_certificate", "client_certificate")])
def test_unusable_certificate_file_is_named_by_the_client(files, name, words):
    (files / "bad.pem").write_text("nothing")
    with pytest.raises(ConfigError, match=f"the Flink cluster's {words} .*bad.pem can't be used"):
        with tls_options("https://flink", Tls(**{name: str(files / "bad.pem")})):
            pass
