from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from lipsync_cli.registry import store
from lipsync_cli.registry.download import Patience
from lipsync_cli.registry.entries import read_registry


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A temporary installation whose registry knows `small` (content: b"abc") and `own`; both absent."""
    places = {name: tmp_path / name for name in ("environment", "cache/lipsync", "shipped")}
    for folder in places.values():
        folder.mkdir(parents=True)
    (places["shipped"] / "registry.toml").write_text(
        '[sets.default]\nlip_reader = "small"\n'
        '[weights.small]\nfile = "small.bin"\nbytes = 3\nlicence = "CC0-1.0"\narchitecture = "x"\n'
        'roles = ["lip_reader"]\n'
        'sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"\n'
        '[weights.own]\nfile = "own.bin"\nbytes = 3\nlicence = "unknown"\narchitecture = "y"\n'
        'roles = ["judge"]\nsha256 = "00"\nurl = "https://example.org/own.bin"\nshipped = false\n'
    )
    read_registry.cache_clear()
    monkeypatch.setattr(store, "weights_folder", lambda: places["shipped"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(places["environment"]))
    return places


@dataclass
class Served:
    """One file of the server and its misbehaviour."""

    content: bytes
    etag: str | None = '"1"'
    ranges: bool = True
    declares_length: bool = True
    cuts: list[int] = field(default_factory=list)
    """Bytes after which each connection in turn is cut; later ones are served whole."""
    stalls: int = 0
    """Connections that never get a body."""
    refusals: list[int] = field(default_factory=list)
    """Status codes of the first answers."""
    redirect: str | None = None


class Server(ThreadingHTTPServer):
    """Serves `files` (path -> Served) on the loopback interface; remembers who asked for what."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, Served] = {}
        self.asked: list[tuple[str, str | None]] = []
        """(path, Range)"""
        self.over = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    quiet: ClassVar[bool] = True

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        served = self.server.files.get(self.path)
        if served is None:
            self.send_error(404)
            return
        if served.refusals:
            self.send_error(served.refusals.pop(0))
            return
        if served.redirect is not None:
            self.send_response(302)
            self.send_header("Location", served.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self._answer(served, wanted)

    def _answer(self, served: Served, wanted: str | None) -> None:
        first, total = 0, len(served.content)
        same = self.headers.get("If-Range", served.etag) == served.etag
        if wanted is not None and served.ranges and same:
            found = re.fullmatch(r"bytes=(\d+)-", wanted)
            assert found
            first = int(found[1])
            if first >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{total - 1}/{total}")
        else:
            self.send_response(200)
        if served.etag is not None:
            self.send_header("ETag", served.etag)
        if served.declares_length:
            self.send_header("Content-Length", str(total - first))
        self.end_headers()
        if served.stalls:
            served.stalls -= 1
            self.server.over.wait(20)
            return
        body = served.content[first:]
        if served.cuts:
            body = body[: served.cuts.pop(0)]
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.over.set()
        running.shutdown()
        thread.join()


@dataclass
class Pauses:
    """Stands in for sleeping: keeps how long would have been slept."""

    seconds: list[float] = field(default_factory=list)

    def patience(self, **changes: object) -> Patience:
        settings = {"attempts": 4, "stall": 5.0, "first_pause": 1.0, "sleep": self.seconds.append}
        return Patience(**{**settings, **changes})  # type: ignore[arg-type]


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def serve():
    return Served


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def digest_of():
    return sha256
