"""A service on a port, from its start to the end of the last request."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import uvicorn

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
) -> bool:
    """Serve until SIGTERM or SIGINT, then finish what was accepted.

    Args:
        service: that answers.
        host: to listen on.
        port: to listen on; 0 for a free one, which the log names.
        drain: seconds that requests under way are given at the end.
        certificate: of TLS; None for plain HTTP, as behind a proxy.
        key: of the certificate.

    Returns:
        Whether it came to listen.
    """
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
    server = _Server(config)
    try:
        server.run()
    except SystemExit:  # how uvicorn ends where a port is in use; it has logged that
        return False
    return server.listened


class _Server(uvicorn.Server):
    """Says where it listens, and when it ends."""

    listened = False

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self.listened = True
            addresses = [one.getsockname()[:2] for server in self.servers for one in server.sockets]
            event("listening", addresses=[f"{host}:{port}" for host, port in addresses])

    async def shutdown(self, sockets: list[Any] | None = None) -> None:
        event("ending")
        await super().shutdown(sockets)
        event("ended", level=logging.INFO)
