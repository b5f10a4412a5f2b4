"""The ffmpeg program of the system: whether it is there, and what it can do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import IO, Any

from lipsync_cli.errors import SettingsError

_TRIAL_SECONDS = 60
_NOT_A_REASON = re.compile(r"^\[[^\]]*\]\s*")
_TRIAL_SIZE = "256x256"


def ffmpeg_python() -> Any:
    """The package ffmpeg-python, which builds the program's arguments.

    Raises:
        SettingsError: it is not installed.
    """
    try:
        return import_module("ffmpeg")
    except ImportError as error:
        raise SettingsError(
            "--backend ffmpeg needs the package ffmpeg-python: pip install 'lipsync_cli[ffmpeg]'"
        ) from error


def ffmpeg_program() -> str:
    """Where the program is: the environment variable FFMPEG_BINARY, else `ffmpeg` on the PATH.

    Raises:
        SettingsError: there is none.
    """
    name = os.environ.get("FFMPEG_BINARY", "ffmpeg")
    found = shutil.which(name)
    if found is None:
        raise SettingsError(
            f"--backend ffmpeg needs the program {name}, version 5.1 or newer, which is not on the PATH; "
            "install it or take --backend pyav"
        )
    return found


@cache
def check_encoder(encoder: str, options: tuple[tuple[str, Any], ...]) -> None:
    """Encode one grey frame, so that an encoder without its hardware is told before any work.

    Raises:
        SettingsError: the program has no such encoder, or it does not work here.
    """
    ffmpeg = ffmpeg_python()
    grey = ffmpeg.input(f"color=gray:size={_TRIAL_SIZE}:rate=25", format="lavfi")
    output = ffmpeg.output(grey, "-", format="null", vcodec=encoder, **{"frames:v": 1}, **dict(options))
    with Program(output, reads=False, writes=False) as program:
        problem = program.finish(_TRIAL_SECONDS)
    if problem:
        raise SettingsError(
            f"--encoder {encoder}: this ffmpeg has no such encoder, or it does not work on this machine "
            f"({problem}); `ffmpeg -encoders` lists what it has"
        )


class Program:
    """A running ffmpeg: from its start as a context to its end, after which nothing of it is left.

    Args:
        output: what ffmpeg-python made.
        reads: `stdin` is open to write to.
        writes: `stdout` is open to read from.
    """

    def __init__(self, output: Any, *, reads: bool, writes: bool) -> None:
        flags: Sequence[str] = ("-hide_banner", "-loglevel", "error", *(() if reads else ("-nostdin",)))
        built: list[str] = ffmpeg_python().compile(output, cmd=[ffmpeg_program(), *flags])
        self._told = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the program ends
        # A session of its own: Ctrl-C reaches only this process, which then ends the program in order.
        self._process = subprocess.Popen(
            built,
            stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
            stdout=subprocess.PIPE if writes else subprocess.DEVNULL,
            stderr=self._told,
            start_new_session=True,
        )

    @property
    def stdin(self) -> IO[bytes]:
        """Where the program reads from."""
        if self._process.stdin is None:
            raise ValueError("this program reads nothing")
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """Where the program writes to."""
        if self._process.stdout is None:
            raise ValueError("this program writes nothing")
        return self._process.stdout

    def finish(self, timeout: float | None = None) -> str:
        """Wait for its end; what was wrong in one line, or nothing."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return f"no answer within {timeout:.0f} s"
        return self.told() or f"ffmpeg ended with code {code}" if code else ""

    def told(self) -> str:
        """The first line that it wrote about errors."""
        self._told.seek(0)
        lines = self._told.read().decode(errors="replace").splitlines()
        reasons = [_NOT_A_REASON.sub("", line).strip() for line in lines]
        return next((reason for reason in reasons if reason), "")

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._process.wait()
        self._told.close()
