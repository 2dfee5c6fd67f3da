"""How to reach a cluster's REST API: address, login, TLS."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict

from sluice.errors import ConfigError
from sluice.settings import is_this_machine


class Tls(BaseModel):
    """TLS settings of an https address. Files are PEM files on the machines that deploy."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verify: bool = True
    """Verify the server's certificate. False: any certificate is accepted, so that a third party between client and
    cluster can read and change all traffic."""
    ca_bundle: str | None = None
    """Trusted certificates; None: the machine's own."""
    client_certificate: str | None = None
    """The client certificate, followed by its chain."""
    client_key: str | None = None
    """The private key of the client certificate, without a password; None: `client_certificate` contains it."""

    def context(self) -> ssl.SSLContext:
        """The SSL context with these settings.

        Raises:
            ConfigError: a file can't be read, or has the wrong content.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_bundle)
        except (OSError, ValueError) as error:
            raise unusable("ca_bundle", str(self.ca_bundle), error) from error
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_certificate:
            try:
                # With an empty password OpenSSL doesn't prompt on the terminal if the key is encrypted.
                context.load_cert_chain(self.client_certificate, self.client_key, password="")
            except (OSError, ValueError) as error:
                raise unusable("client_certificate", f"{self.client_certificate} (with its key)", error) from error
        return context


def unusable(name: str, file: str, why: object) -> ConfigError:
    """The error for a certificate file that can't be used."""
    return ConfigError(
        f"the Flink cluster's {name} {file} can't be used: {why}",
        remedy="give the path of a PEM file that this machine can read",
    )


_USUAL = Tls()


@dataclass(frozen=True)
class Access:
    """How to reach a cluster's REST API. `str()` gives the address only, without the login.

    Attributes:
        url: The address, without user and password, e.g. https://flink.example.org/team.
        user: The user for HTTP Basic authentication; None: no login, or a token.
        password: The password for HTTP Basic authentication.
        token: The bearer token, instead of user and password.
        tls: TLS settings of an https address.
    """

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    tls: Tls = _USUAL

    @classmethod
    def of(cls, url: str, tls: Tls | None = None) -> Self:
        """Parse an address, which may contain user and password (percent-encoded)."""
        parts = urlsplit(url)
        if parts.username is None:
            return cls(url.rstrip("/"), tls=tls or _USUAL)
        bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
        return cls(bare, unquote(parts.username), unquote(parts.password or ""), tls=tls or _USUAL)

    @property
    def authorization(self) -> str | None:
        """The value of the header `Authorization`; None: no login."""
        if self.token is not None:
            return f"Bearer {self.token}"
        if self.user is None:
            return None
        login = f"{self.user}:{self.password or ''}"
        return f"Basic {base64.b64encode(login.encode()).decode()}"

    @property
    def has_login(self) -> bool:
        """Whether each request sends a user and password, or a token."""
        return self.authorization is not None

    @property
    def is_encrypted(self) -> bool:
        """Whether the address is an https address."""
        return self.url.startswith("https:")

    def __str__(self) -> str:
        return self.url


def exposed_flink_login(access: Access) -> str | None:
    """A warning that the cluster's login is sent unencrypted to another machine, with the remedy; None: it isn't."""
    if not access.has_login or access.is_encrypted or is_this_machine(urlsplit(access.url).hostname or ""):
        return None
    return (
        f"the login of the Flink cluster is sent unencrypted to {access.url}, so that others on the network can read "
        "it; serve the REST API over https, and change the login"
    )
