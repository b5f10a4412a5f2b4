"""Downloads that can be interrupted: to a `.part` beside the target, resumed where the server allows it."""

from __future__ import annotations

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import urljoin, urlsplit

import lipsync_cli
from lipsync_cli.errors import WeightsError

_BLOCK = 1 << 18
_LARGEST = 1 << 32
"""Bytes; no known file of weights has more, and a server that never ends would fill the disk."""
_PASSING = (408, 425, 429)
"""Client errors that may pass; all of the server's (5xx) may."""
_BROKEN = (urllib.error.URLError, http.client.HTTPException, OSError)
"""What a lost, refused or stalled connection raises (TimeoutError is an OSError)."""


class DownloadProgress(Protocol):
    """Told how far a download is, often."""

    def __call__(self, done: int, total: int | None) -> None:
        """Bytes so far, and of the whole file where the server says."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to try."""

    attempts: int = 6
    """In a row without a single new byte."""
    stall: float = 30.0
    """Seconds without an answer or a byte after which a connection counts as lost."""
    first_pause: float = 1.0
    """Seconds before the second attempt; doubled each time, up to a minute."""
    sleep: Callable[[float], None] = time.sleep


_PATIENCE = Patience()


def download(
    url: str,
    part: Path,
    *,
    progress: DownloadProgress | None = None,
    patience: Patience = _PATIENCE,
    largest: int = _LARGEST,
) -> str:
    """Fetch a file into `part` and return its sha256; what `part` holds already is not fetched again.

    Proxies are those of the environment (http_proxy, https_proxy, no_proxy). The file is fetched anew when
    the server does not resume, or has another version by now. Whether the content is right is the caller's to
    check. After any error `part` stays, to go on from.

    Raises WeightsError for an address that is not http(s), an answer that will not change (404, ...), a disk
    that is full, more than `largest` bytes (then `part` is removed), or when all attempts are used up.
    """
    _check_scheme(url)
    transfer = _Transfer(url, part, progress, patience.stall, largest)
    failures = 0
    while True:
        before = transfer.size()
        try:
            transfer.go_on()
            return transfer.finish()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500 and error.code not in _PASSING:
                raise WeightsError(f"{url}: the server answers {error.code} {error.reason}") from error
            reason = f"the server answers {error.code} {error.reason}"
        except _DiskError as error:
            raise WeightsError(f"{part}: cannot be written: {error}") from error
        except _BROKEN as error:
            reason = _reason(error)
        failures = 1 if transfer.size() > before else failures + 1
        if failures >= patience.attempts:
            raise WeightsError(
                f"{url}: {reason}; given up after {failures} attempts; {before / 1e6:.1f} MB are kept: "
                "check the network (proxies: https_proxy) and run this again to go on"
            )
        patience.sleep(min(60.0, patience.first_pause * 2 ** (failures - 1)))


class _DiskError(Exception):
    """The disk failed, not the network."""


class _Transfer:
    """One file on its way, over any number of connections."""

    def __init__(
        self, url: str, part: Path, progress: DownloadProgress | None, stall: float, largest: int
    ) -> None:
        self._url = url
        self._part = part
        self._tag_file = part.with_name(part.name + ".tag")
        self._progress = progress
        self._stall = stall
        self._largest = largest
        self._opener = urllib.request.build_opener(_SafeRedirects)

    def size(self) -> int:
        return self._part.stat().st_size if self._part.is_file() else 0

    def go_on(self) -> None:
        """One connection; returns when the file is whole."""
        headers = {
            "User-Agent": f"lipsync_cli/{lipsync_cli.__version__}",
            "Accept-Encoding": "identity",
        }
        begun = self.size()
        if begun:
            headers["Range"] = f"bytes={begun}-"
            tag = self._tag()
            if tag:
                headers["If-Range"] = tag
        request = urllib.request.Request(self._url, headers=headers)
        try:
            answer = self._opener.open(request, timeout=self._stall)
        except urllib.error.HTTPError as error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and begun:
                if _whole_size(error.headers) == begun:
                    error.close()
                    return
                self._begin_anew()
            raise
        with answer:
            self._take(answer, begun)

    def finish(self) -> str:
        """The sha256; forgets the server's tag of the version."""
        self._tag_file.unlink(missing_ok=True)
        digest = hashlib.sha256()
        with self._part.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def _take(self, answer: http.client.HTTPResponse, begun: int) -> None:
        resumed = answer.status == http.client.PARTIAL_CONTENT and _first_byte(answer.headers) == begun
        if begun and not resumed:
            if answer.status == http.client.PARTIAL_CONTENT:  # another part than asked for
                self._begin_anew()
                raise http.client.HTTPException("the server sends another part than the one asked for")
            begun = 0
        self._keep_tag(answer.headers)
        length = answer.headers.get("Content-Length", "")
        total = begun + int(length) if length.isdecimal() else None
        done = begun
        self._check_size(total or begun)
        with self._open(begun) as file:
            while block := answer.read(_BLOCK):
                self._check_size(done + len(block))
                _write(file, block)
                done += len(block)
                if self._progress is not None:
                    self._progress(done, total)
        if total is not None and done < total:
            raise http.client.HTTPException(f"the connection ended after {done} of {total} bytes")

    def _check_size(self, n: int) -> None:
        """WeightsError for more bytes than the file can have: it is another one."""
        if n > self._largest:
            self._begin_anew()
            raise WeightsError(
                f"{self._url}: the server sends {n} bytes or more, the file has at most {self._largest}: "
                "it was removed: get the file from elsewhere and import it"
            )

    def _open(self, begun: int) -> IO[bytes]:
        try:
            self._part.parent.mkdir(parents=True, exist_ok=True)
            return self._part.open("ab" if begun else "wb")
        except OSError as error:
            raise _DiskError(error.strerror) from error

    def _begin_anew(self) -> None:
        self._part.unlink(missing_ok=True)
        self._tag_file.unlink(missing_ok=True)

    def _tag(self) -> str:
        try:
            return self._tag_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return ""

    def _keep_tag(self, headers: Message) -> None:
        """Remember which version of the file this is, so that no other is joined to it."""
        tag = headers.get("ETag", "")
        if tag and not tag.startswith("W/") and tag.isascii():
            try:
                self._tag_file.parent.mkdir(parents=True, exist_ok=True)
                self._tag_file.write_text(tag, encoding="ascii")
            except OSError as error:
                raise _DiskError(error.strerror) from error
        else:
            self._tag_file.unlink(missing_ok=True)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to anything else."""

    def http_error_302(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
    ) -> Any:
        """As the parent; WeightsError for a redirect to an address that is not safe."""
        goal = urljoin(req.full_url, headers.get("Location", ""))
        _check_scheme(goal)
        if urlsplit(req.full_url).scheme == "https" and urlsplit(goal).scheme != "https":
            raise WeightsError(f"{req.full_url}: refused to be sent from https to {goal}")
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _check_scheme(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise WeightsError(f"{url}: only http and https addresses are fetched")


def _write(file: IO[bytes], block: bytes) -> None:
    try:
        file.write(block)
    except OSError as error:
        raise _DiskError(error.strerror) from error


def _first_byte(headers: Message) -> int | None:
    found = re.match(r"bytes (\d+)-", headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _whole_size(headers: Message) -> int | None:
    found = re.match(r"bytes \*/(\d+)$", headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _reason(error: Exception) -> str:
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, TimeoutError):
        return "the server has stalled"
    return str(inner) or type(inner).__name__
