"""Convert PEM certificates to temporary PKCS12 stores, which Java needs."""

from __future__ import annotations

import secrets
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_connection
from urllib.parse import urlsplit

from sluice.errors import UnreachableError
from sluice.flink.access import Tls, unusable

_TIMEOUT = 10.0
"""Seconds to connect to a cluster and get its certificate."""


@contextmanager
def tls_options(url: str, tls: Tls) -> Iterator[dict[str, str]]:
    """The TLS options of Flink's REST client; the files that they name exist inside the block only.

    Without a CA bundle, Java's own certificates are trusted.

    Raises:
        ConfigError: a certificate file can't be used.
        UnreachableError: `verify` is false, and the cluster presents no certificate.
    """
    if tls == Tls() or not url.startswith("https:"):
        yield {}
        return
    # Only this user can read the directory. The password protects nothing more, but Java needs one.
    with tempfile.TemporaryDirectory(prefix="sluice-tls-") as directory:
        yield _options(url, tls, Path(directory), secrets.token_urlsafe(24))


def _options(url: str, tls: Tls, directory: Path, password: str) -> dict[str, str]:
    options: dict[str, str] = {}
    if not tls.verify or tls.ca_bundle:
        trusted = directory / "trusted.p12"
        pem = Path(tls.ca_bundle or "").read_bytes() if tls.verify else _shown(url, tls)
        trusted.write_bytes(_trust_store(pem, tls, password))
        options |= _store("truststore", trusted, password)
        options["security.ssl.rest.verify-hostname"] = str(tls.verify).lower()
    if tls.client_certificate:
        own = directory / "own.p12"
        own.write_bytes(_key_store(tls, password))
        options |= _store("keystore", own, password)
        options["security.ssl.rest.key-password"] = password
        options["security.ssl.rest.authentication-enabled"] = "true"
    return options


def _store(kind: str, file: Path, password: str) -> dict[str, str]:
    name = f"security.ssl.rest.{kind}"
    return {name: str(file), f"{name}-password": password, f"{name}-type": "PKCS12"}


def _shown(url: str, tls: Tls) -> bytes:
    """The certificate that the cluster presents, as PEM: without verification it is trusted as it is."""
    address = urlsplit(url)
    host = address.hostname or ""
    try:
        with (
            create_connection((host, address.port or 443), _TIMEOUT) as plain,
            tls.context().wrap_socket(plain, server_hostname=host) as secured,
        ):
            certificate = secured.getpeercert(binary_form=True)
    except OSError as error:
        raise UnreachableError(
            f"Flink at {url} presents no certificate: {error}", remedy="start the cluster, or correct its address"
        ) from error
    return ssl.DER_cert_to_PEM_cert(certificate or b"").encode()


def _trust_store(pem: bytes, tls: Tls, password: str) -> bytes:
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12  # noqa: PLC0415 - large
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415

    try:
        trusted = [
            pkcs12.PKCS12Certificate(found, str(number).encode())
            for number, found in enumerate(load_pem_x509_certificates(pem))
        ]
    except ValueError as error:
        raise unusable("ca_bundle", str(tls.ca_bundle), error) from error
    return pkcs12.serialize_java_truststore(trusted, BestAvailableEncryption(password.encode()))


def _key_store(tls: Tls, password: str) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        BestAvailableEncryption,
        load_pem_private_key,
        pkcs12,
    )
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415

    certificate = Path(tls.client_certificate or "")
    try:
        chain = load_pem_x509_certificates(certificate.read_bytes())
        key = load_pem_private_key(Path(tls.client_key or certificate).read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise unusable("client_certificate", str(certificate), error) from error
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey):
        raise unusable("client_key", str(tls.client_key), f"{type(key).__name__}, expected one of RSA or EC")
    encryption = BestAvailableEncryption(password.encode())
    return pkcs12.serialize_key_and_certificates(b"client", key, chain[0], chain[1:], encryption)
