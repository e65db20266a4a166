"""A hub for tests: as many of its endpoints as a download needs, and a client in a process of its
own, since huggingface_hub reads the environment as it is imported.
"""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.faults.nursery import Nursery

WARM = ("torch._dynamo", "torchvision", "scipy.optimize")  # all that is slow but the hub's own


@dataclass
class Repository:
    """What the hub has under one id.

    Attributes:
        revisions: Branch or tag -> the folder it shows.
        is_gated: Whether files are refused.
    """

    revisions: dict[str, Path]
    is_gated: bool = False

    def commit(self, revision: str) -> str | None:
        for name, folder in self.revisions.items():
            commit = hashlib.sha1(str(folder).encode()).hexdigest()
            if revision in (name, commit):
                return commit
        return None

    def folder(self, revision: str) -> Path:
        return next(f for n, f in self.revisions.items() if self.commit(n) == revision)


@dataclass
class Hub:
    """A server's content, its address and what it was asked for."""

    repositories: dict[str, Repository]
    torn: str = ""
    address: str = ""
    log: list[str] = field(default_factory=list)

    def weights_asked_for(self) -> list[str]:
        return [line for line in self.log if ".safetensors" in line and ".json" not in line]


class Handler(BaseHTTPRequestHandler):
    """Answers from `hub`, which a subclass gives."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def log_message(self, *_args):
        pass

    def answer(self):
        path = unquote(urlsplit(self.path).path)
        self.hub.log.append(f"{self.command} {path}")
        is_api = path.startswith("/api/models/")
        owner, name, verb, revision, *rest = [
            *path.removeprefix("/api/models").strip("/").split("/"),
            *("revision", "main"),
        ]
        repository = self.hub.repositories.get(f"{owner}/{name}")
        commit = repository.commit(revision) if repository else None
        if repository is None:
            self.refuse(401, "RepoNotFound")
        elif commit is None:
            self.refuse(404, "RevisionNotFound")
        elif is_api and verb == "revision":
            self.send(json.dumps({"id": f"{owner}/{name}", "sha": commit}).encode())
        elif repository.is_gated:
            self.refuse(403, "GatedRepo")
        elif is_api:
            self.send(json.dumps(tree(repository.folder(commit))).encode())
        else:
            self.send_file(repository.folder(commit) / rest[0], commit)

    def send_file(self, file, commit):
        if file.is_file():
            headers = {"ETag": f'"{etag(file)}"', "X-Repo-Commit": commit}
            self.send(file.read_bytes(), headers)
        else:
            self.refuse(404, "EntryNotFound")

    def send(self, content, headers=None):
        self.send_response(200)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            is_torn = bool(self.hub.torn) and self.hub.torn in self.path
            self.wfile.write(content[: len(content) // 2] if is_torn else content)
            self.close_connection = self.close_connection or is_torn

    def refuse(self, code, why):
        self.send_response(code)
        self.send_header("X-Error-Code", why)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def serving(hub: Hub):
    handler = type("Handler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def tree(folder: Path) -> list[dict[str, object]]:
    return [
        {"type": "file", "path": p.name, "size": p.stat().st_size, "oid": etag(p)}
        for p in sorted(folder.iterdir())
    ]


def etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()


def job(*steps, **fields):
    """What to do with a pair, one step after the other."""
    pair = {
        "vlm": "acme/vlm",
        "backbone": "acme/text",
        "base": None,
        "revision": None,
        "backbone_revision": None,
        "base_revision": None,
        "accept": (),
        "dtype": None,
    }
    return pair | fields, steps


def ask(
    clients: Nursery, address: str, home: Path, *jobs, offline: bool = False
) -> list[dict[str, Any]]:
    """What a process of its own says of each pair: step -> its answer, and the error."""
    home.mkdir(exist_ok=True)
    environment = {
        "HF_ENDPOINT": address,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "1" if offline else "0",
        "NO_PROXY": "*",
    }
    (home / "told").unlink(missing_ok=True)
    code = clients.code(
        clients.start(home, "tests.unit.models.hub_client:tell", environment, jobs)
    )
    assert code == 0, (home / "said").read_text()
    return json.loads((home / "told").read_text())
