"""Where a cluster's REST API is, and how to get in: address, login, TLS."""

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
    """How an https address is trusted, and who asks. Paths of PEM files where deploys are made."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    verify: bool = True
    """False: any certificate will do, for any host: somebody in between can read and change everything."""
    ca_bundle: str | None = None
    """The certificates that are trusted; None: those that the machine trusts."""
    client_certificate: str | None = None
    """The certificate that is shown, with those that lead to its root."""
    client_key: str | None = None
    """Its private key, without a password; None: it stands in `client_certificate`."""

    def context(self) -> ssl.SSLContext:
        """This as the context of a connection.

        Raises:
            ConfigError: a file can't be read, or isn't what it should be.
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
                # An empty password: OpenSSL would ask the terminal for that of an encrypted key.
                context.load_cert_chain(self.client_certificate, self.client_key, password="")
            except (OSError, ValueError) as error:
                raise unusable("client_certificate", f"{self.client_certificate} (with its key)", error) from error
        return context


def unusable(name: str, file: str, why: object) -> ConfigError:
    """The error for a file with certificates that doesn't do."""
    return ConfigError(
        f"the Flink cluster's {name} {file} can't be used: {why}",
        remedy="give the path of a PEM file that this machine can read",
    )


_USUAL = Tls()


@dataclass(frozen=True)
class Access:
    """How to reach a cluster's REST API. As text it is the address alone.

    Attributes:
        url: The address, without user and password, e.g. https://flink.example.org/team.
        user: Whose password it is; None: there is no login, or one by token.
        password: The password of a login by HTTP Basic.
        token: The bearer token, instead of user and password.
        tls: For an https address.
    """

    url: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    tls: Tls = _USUAL

    @classmethod
    def of(cls, url: str, tls: Tls | None = None) -> Self:
        """The access that an address gives, which may hold user and password (percent-encoded)."""
        parts = urlsplit(url)
        if parts.username is None:
            return cls(url.rstrip("/"), tls=tls or _USUAL)
        bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
        return cls(bare, unquote(parts.username), unquote(parts.password or ""), tls=tls or _USUAL)

    @property
    def authorization(self) -> str | None:
        """The value of the header `Authorization`; None: there is no login."""
        if self.token is not None:
            return f"Bearer {self.token}"
        if self.user is None:
            return None
        login = f"{self.user}:{self.password or ''}"
        return f"Basic {base64.b64encode(login.encode()).decode()}"

    @property
    def has_login(self) -> bool:
        """A user and password, or a token, are sent with each request."""
        return self.authorization is not None

    @property
    def is_encrypted(self) -> bool:
        """The address is one of https."""
        return self.url.startswith("https:")

    def __str__(self) -> str:
        return self.url


def exposed_flink_login(access: Access) -> str | None:
    """That the cluster's login is sent unencrypted to another machine, and what to do; None: it isn't."""
    if not access.has_login or access.is_encrypted or is_this_machine(urlsplit(access.url).hostname or ""):
        return None
    return (
        f"the login of the Flink cluster is sent unencrypted to {access.url}, where others on the network can read it; "
        "serve the REST API over https, and change the login"
    )
