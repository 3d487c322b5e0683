"""Who may ask: API keys and their scopes, the rate of each, and pages of other sites."""

from __future__ import annotations

import ipaddress
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from voxangle.service.keys import KeyFile, Scope
from voxangle.service.problems import ProblemError
from voxangle.service.rate import Buckets

__all__ = ["Access", "Caller", "is_loopback"]

_NEW_KEY = (
    "Ask whoever runs the service for a key (`voxangle serve keys create`), and send it as `Authorization: Bearer "
    "KEY`."
)


class Caller(NamedTuple):
    """Who asks.

    Attributes:
        key: id of the API key; ``open`` where none is needed.
    """

    key: str


class Access:
    """Decides who may ask what.

    Args:
        keys: that are valid; None for a service that is open to its own machine.
        buckets: of the rate.
    """

    def __init__(self, keys: KeyFile | None, buckets: Buckets) -> None:
        self._keys = keys
        self._buckets = buckets

    @property
    def is_open(self) -> bool:
        """Whether no key is needed."""
        return self._keys is None

    def check(self, token: str | None, scope: Scope | None) -> Caller:
        """Who asks, if this may be asked now.

        Args:
            token: the key that was sent.
            scope: that is needed; None for any key.

        Raises:
            ProblemError: there is no key, it is not valid or may not do this, or asks too often.
        """
        caller = self.find(token, scope)
        if wait := self._buckets.take(caller.key):
            raise ProblemError(
                "too-many-requests",
                "This key has asked too often.",
                f"Come again in {wait} s, and spread the requests.",
                retry_after=wait,
            )
        return caller

    def find(self, token: str | None, scope: Scope | None) -> Caller:
        """Who asks, if this may be asked; it counts as no request, so that what goes on can be checked again.

        Args:
            token: the key that was sent.
            scope: that is needed; None for any key.

        Raises:
            ProblemError: there is no key, or it is not valid, not any more, or may not do this.
        """
        if self._keys is None:
            return Caller("open")
        if not token:
            raise ProblemError("no-key", "The request brings no API key.", _NEW_KEY)
        key = self._keys.find(token)
        if key is None:
            raise ProblemError("unknown-key", "The API key is wrong or was revoked.", _NEW_KEY)
        if scope is not None and not key.allows(scope):
            raise ProblemError(
                "out-of-scope",
                f"The API key does not have the scope '{scope}'.",
                "Ask whoever runs the service for a key with this scope.",
            )
        return Caller(key.id)

    def check_origin(self, headers: Headers) -> None:
        """Keep pages of other sites from an open service: any site could have the browser of a visitor ask it.

        Raises:
            ProblemError: the request is for another host, or comes from another site's page.
        """
        if self._keys is not None:
            return  # a page has to know a key, which no browser adds by itself
        host = headers.get("host", "")
        origin = headers.get("origin")
        own = is_loopback(urlsplit(f"//{host}").hostname or "") if _splits(host) else False
        if not own or (origin is not None and (not _splits(origin) or urlsplit(origin).netloc != host)):
            raise ProblemError(
                "foreign-origin",
                "An open service answers only its own machine and its own page.",
                "Use http://127.0.0.1 or http://localhost, or run the service with API keys.",
            )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, seen from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _splits(address: str) -> bool:
    try:
        urlsplit(address if "//" in address else f"//{address}")
    except ValueError:
        return False
    return True
