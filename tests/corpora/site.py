"""A server on the loopback that misbehaves on request."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Site:
    """What the server does, and what it was asked."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    drop_after: list[int] = field(
        default_factory=list
    )  # bytes after which each of the next answers breaks off
    statuses: list[int] = field(default_factory=list)  # error status of each of the next answers
    shift: int = 0  # how far the served range is off the one asked for
    chunked: bool = False
    page: bool = False  # a login page in place of every file, with status 200
    sizes: bool = True  # whether HEAD is answered
    asked: list[tuple[str, str | None]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        site = self.site
        wanted = self.headers.get("Range")
        site.asked.append((self.path, wanted))
        self.close_connection = True
        if site.statuses:
            return self.send_error(site.statuses.pop(0))
        if self.path not in site.files:
            return self.send_error(404)
        content = site.files[self.path]
        if site.page:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"<html")
            return None
        first = 0
        if wanted and site.ranges:
            first = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
            if first >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            first += site.shift
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        body = content[first:]
        if site.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
            return None
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):  # whoever has seen enough hangs up
            self.wfile.write(body[: site.drop_after.pop(0)] if site.drop_after else body)
        return None

    def do_HEAD(self) -> None:
        site = self.site
        self.close_connection = True
        if not site.sizes or self.path not in site.files:
            self.send_response(405 if not site.sizes else 404)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(200)
        if site.page:
            self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(site.files[self.path])))
        self.end_headers()
        return None

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Site]:
    """A site with these files, until the block ends."""
    site = Site(files=files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"site": site}))
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
