"""A hub in miniature, for the library's own client: repositories in memory, over real HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_somebody"


@dataclass
class Repository:
    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    def commit(self, files: dict[str, bytes]) -> str:
        before = self.commits[self.head] if self.commits else {}
        name = hashlib.sha1(f"{len(self.commits)}".encode(), usedforsecurity=False).hexdigest()
        self.commits[name] = before | files
        return name


@dataclass
class Hub:
    """What the server holds, and what it was asked."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def serve() -> Iterator[Hub]:
    hub = Hub()

    class Handler(_Handler):
        state = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._route()

    def do_HEAD(self) -> None:
        self._route()

    def do_POST(self) -> None:
        self._route()

    def _route(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.state.requests.append(f"{self.command} {path}")
        writer = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        match path.strip("/").split("/"):
            case ["api", "repos", "create"] if self.command == "POST":
                self._create(json.loads(body), writer)
            case ["api", "validate-yaml"]:
                self._json({"errors": [], "warnings": []})
            case ["api", "models", owner, name, *rest]:
                self._api(f"{owner}/{name}", rest, body, writer)
            case [owner, name, "resolve", revision, *file]:
                self._file(f"{owner}/{name}", revision, "/".join(file), writer)
            case _:
                self._error(404, "")

    def _create(self, wanted: dict[str, Any], writer: bool) -> None:
        if not writer:
            return self._error(401, "")
        owner, name = wanted.get("organization") or "somebody", wanted["name"]
        repository = f"{owner}/{name}"
        there = repository in self.state.repositories
        if not there:
            private = wanted.get("private") or wanted.get("visibility") == "private"
            self.state.repositories[repository] = Repository(bool(private))
            self.state.repositories[repository].commit({".gitattributes": b""})
        self._json({"url": f"{self.state.url}/{repository}", "name": repository}, 409 if there else 200)
        return None

    def _api(self, name: str, rest: list[str], body: bytes, writer: bool) -> None:
        repository = self._find(name, writer)
        if repository is None:
            return None
        match rest:
            case ["preupload", _]:
                files = json.loads(body)["files"]
                self._json(
                    {
                        "files": [
                            {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
                        ]
                    }
                )
            case ["commit", _]:
                if not writer:
                    return self._error(403, "")
                lines = [json.loads(line) for line in body.splitlines()]
                files = {
                    line["value"]["path"]: base64.b64decode(line["value"]["content"])
                    for line in lines
                    if line["key"] == "file"
                }
                oid = repository.commit(files)
                self._json(
                    {"success": True, "commitOid": oid, "commitUrl": f"{self.state.url}/{name}/commit/{oid}"}
                )
            case [] | ["revision", _]:
                revision = self._revision(repository, rest[1] if rest else "main")
                if revision is None:
                    return self._error(404, "RevisionNotFound")
                files = repository.commits[revision]
                self._json(
                    {
                        "id": name,
                        "sha": revision,
                        "private": repository.private,
                        "siblings": [{"rfilename": file} for file in files],
                    }
                )
            case ["tree", at, *_]:
                revision = self._revision(repository, at)
                if revision is None:
                    return self._error(404, "RevisionNotFound")
                files = repository.commits[revision]
                self._json(
                    [
                        {"type": "file", "path": file, "size": len(content), "oid": _etag(content)}
                        for file, content in files.items()
                    ]
                )
            case _:
                self._error(404, "")
        return None

    def _file(self, name: str, at: str, file: str, writer: bool) -> None:
        repository = self._find(name, writer)
        if repository is None:
            return
        revision = self._revision(repository, at)
        if revision is None:
            self._error(404, "RevisionNotFound")
        elif file not in repository.commits[revision]:
            self._error(404, "EntryNotFound")
        else:
            content = repository.commits[revision][file]
            self._send(200, content, {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": revision})

    def _find(self, name: str, writer: bool) -> Repository | None:
        repository = self.state.repositories.get(name)
        if repository is None or (repository.private and not writer):
            self._error(404 if writer else 401, "RepoNotFound")
            return None
        return repository

    @staticmethod
    def _revision(repository: Repository, name: str) -> str | None:
        return repository.head if name == "main" else name if name in repository.commits else None

    def _error(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": code} if code else {})

    def _json(self, content: object, status: int = 200) -> None:
        self._send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _etag(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
