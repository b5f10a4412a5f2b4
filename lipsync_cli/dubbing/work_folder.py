"""The hidden folder beside an output in which a dub keeps what it has done, to go on after a kill."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from filelock import FileLock, Timeout

from lipsync_cli.dubbing.job import DubJob, NetworkUsed
from lipsync_cli.dubbing.saved_values import OfPairs, load_values, save_values
from lipsync_cli.errors import MediaError, SettingsError, unwritable
from lipsync_cli.media.chunks import finished_chunks
from lipsync_cli.settings import to_mapping

_LOG = logging.getLogger(__name__)
_LONGEST_NAME = 200  # bytes
_SAMPLE = 1 << 20  # bytes that are read at the beginning, in the middle and at the end of a file
_FIRST_PASS = "first_pass.npz"

Fingerprint = Mapping[str, object]
"""Everything that decides what a dub looks like, as JSON values: two dubs with the same come out the same."""


def identity(path: Path) -> dict[str, object]:
    """What tells a file from any other, in milliseconds however long it is.

    Size, time of the last change, a hash of its beginning, middle and end. OSError when it cannot be read.
    """
    facts = path.stat()
    found = hashlib.sha256()
    with path.open("rb") as file:
        for start in {0, max(0, facts.st_size // 2 - _SAMPLE // 2), max(0, facts.st_size - _SAMPLE)}:
            file.seek(start)
            found.update(hashlib.sha256(start.to_bytes(8, "big") + file.read(_SAMPLE)).digest())
    return {"bytes": facts.st_size, "changed": facts.st_mtime_ns, "sha256": found.hexdigest()}


def fingerprint_of(
    job: DubJob, files: Sequence[Path], networks: Sequence[NetworkUsed], software: Mapping[str, object]
) -> Fingerprint:
    """Of a dub of these files by these networks on this installation. OSError when a file cannot be read."""
    return {
        "files": [identity(path) for path in files],
        "networks": {network.role: network.sha256 for network in networks},
        **{f"--{name.replace('_', '-')}": value for name, value in to_mapping(job.settings).items()},
        **software,
    }


class WorkFolder:
    """`.NAME.dub` beside the output, for one dub at a time.

    It is gone after a clean end, and after one that leaves nothing to go on with (no finished piece of the
    video). Whatever else ends the work, be it SIGKILL or a power cut, leaves it: with `resume` the same dub
    goes on.

    Args:
        output: the file that the dub writes.
        fingerprint: of the dub.
        n_frames: frames of a finished piece.
        resume: go on where such a dub was stopped, if there is something to go on with. None: what cannot be
            gone on with is removed.

    Raises (on entering):
        MediaError: another process writes this output, or the folder cannot be written.
        SettingsError: what lies there is of another dub (`resume`), or of this one and would be lost (not
            `resume`).
    """

    def __init__(self, output: Path, fingerprint: Fingerprint, *, n_frames: int, resume: bool | None) -> None:
        self._output = output
        target = output.resolve()
        name = target.name.encode()[:_LONGEST_NAME].decode(errors="ignore")
        self.path = target.with_name(f".{name}.dub")
        self._fingerprint: dict[str, Any] = json.loads(json.dumps(fingerprint))
        self.n_frames = n_frames
        self._resume = resume
        self._lock = FileLock(self.path / "lock", blocking=False)

    @property
    def n_kept(self) -> int:
        """Frames that are finished."""
        return len(finished_chunks(self.path, self.n_frames)) * self.n_frames

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(exist_ok=True)
            self._lock.acquire()
            self._settle()
        except Timeout as error:
            raise MediaError(
                f"{self._output}: another lipsync is writing it; wait for its end or give another output"
            ) from error
        except OSError as error:
            raise MediaError(
                f"{self._output}: the folder {self.path} cannot be written ({error.strerror}); "
                "check the free space and permissions"
            ) from error
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        n_kept = 0 if kind is None else self.n_kept
        if n_kept:
            _LOG.warning(
                "%s: %d frames are done and kept; the same command with --resume goes on from there",
                self._output,
                n_kept,
            )
        else:
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()
        if not n_kept:  # where an open file could not be removed
            shutil.rmtree(self.path, ignore_errors=True)

    def load(self, *classes: type, mapping: OfPairs = dict) -> Any:
        """What `save` saved of the first pass; None where there is nothing that can be read."""
        try:
            return load_values(self.path / _FIRST_PASS, *classes, mapping=mapping)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _LOG.warning("%s; the video is watched again", error)
            return None

    def save(self, first_pass: object) -> None:
        """Keep the result of the first pass. MediaError when it cannot be written."""
        try:
            save_values(self.path / _FIRST_PASS, first_pass)
        except OSError as error:
            raise unwritable(self._output, error.strerror) from error

    def _settle(self) -> None:
        """Decide what becomes of what lies there; afterwards the folder belongs to this dub."""
        before = self._read()
        differing = [name for name in self._fingerprint if before.get(name) != self._fingerprint[name]]
        n_kept = self.n_kept
        if before and differing and self._resume:
            raise SettingsError(
                f"{self._output}: --resume cannot go on, the unfinished dub there differs in "
                f"{', '.join(differing)}; give the same command, or remove {self.path}"
            )
        if n_kept and not differing and self._resume is False:
            raise SettingsError(
                f"{self._output}: {n_kept} frames of this very dub are done already; go on with --resume, "
                f"or remove {self.path} to begin anew"
            )
        if self._resume is not False and not differing:
            return
        if n_kept:
            _LOG.warning(
                "%s: %d frames of an unfinished dub with other %s are discarded",
                self._output,
                n_kept,
                ", ".join(differing),
            )
        self._clear()
        (self.path / "job.json").write_text(json.dumps(self._fingerprint, indent=1), encoding="utf-8")

    def _read(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            found = json.loads((self.path / "job.json").read_text(encoding="utf-8"))
            return found if isinstance(found, dict) else {}
        return {}

    def _clear(self) -> None:
        for path in self.path.iterdir():
            if path.name != "lock":
                path.unlink()
