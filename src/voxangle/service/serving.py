"""A service on a port, from its start to the end of the last request."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from voxangle.errors import VoxangleError
from voxangle.service.app import create_app
from voxangle.service.logs import configure, event
from voxangle.service.service import Service

__all__ = ["serve"]


def serve(
    service: Service,
    *,
    host: str,
    port: int,
    drain: float = 30.0,
    certificate: Path | None = None,
    key: Path | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> bool:
    """Serve until SIGTERM or SIGINT, then finish what was accepted.

    Args:
        service: that answers.
        host: to listen on.
        port: to listen on; 0 for a free one, which the log names.
        drain: seconds that requests under way are given at the end.
        certificate: of TLS; None for plain HTTP, as behind a proxy.
        key: of the certificate.
        announce: called with the address, once it listens.

    Returns:
        Whether it came to listen.

    Raises:
        VoxangleError: the certificate or its key cannot be used.
    """
    if certificate is not None:
        _check_certificate(certificate, key)
    configure()
    config = uvicorn.Config(
        create_app(service),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=max(1, round(drain)),
        ws_max_size=2**20,
        ws_per_message_deflate=False,  # samples do not deflate, and bombs do
        h11_max_incomplete_event_size=2**15,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    server = _Server(config, announce)
    try:
        server.run()
    except SystemExit:  # how uvicorn ends where a port is in use; it has logged that
        return False
    return server.listened


class _Server(uvicorn.Server):
    """Says where it listens, and when it ends."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[str], None]) -> None:
        super().__init__(config)
        self.listened = False
        self._announce = announce

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self.listened = True
            addresses = [one.getsockname()[:2] for server in self.servers for one in server.sockets]
            event("listening", addresses=[f"{host}:{port}" for host, port in addresses])
            host = self.config.host
            self._announce(f"[{host}]:{addresses[0][1]}" if ":" in host else f"{host}:{addresses[0][1]}")

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        event("ending")
        await super().shutdown(sockets)
        event("ended", level=logging.INFO)


def _check_certificate(certificate: Path, key: Path | None) -> None:
    """What OpenSSL says of a file that it cannot use names neither the file nor the cure."""
    for path in (certificate, key or certificate):
        try:
            path.open("rb").close()
        except OSError as error:
            raise VoxangleError(f"{path}: cannot be read ({error.strerror})") from error
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(certificate)
    except ssl.SSLError as error:
        raise VoxangleError(
            f"{certificate}: holds no certificate as PEM; give --certificate the file that begins with "
            "-----BEGIN CERTIFICATE-----, with the chain after it"
        ) from error
    try:
        # An empty password: nobody is there to type one when a service starts.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError) as error:
        raise VoxangleError(
            f"{key or certificate}: is not the key of {certificate}, or no private key as PEM, or needs a password; "
            "give --certificate-key the key that the certificate was made with, without a password"
        ) from error
