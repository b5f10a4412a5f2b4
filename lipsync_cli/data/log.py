"""The log of a cache: one JSON line for each clip that was tried, and what became of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lipsync_cli.data.corpora.source import SourceClip
from lipsync_cli.data.layout import ClipFacts
from lipsync_cli.errors import DataError, SettingsError
from lipsync_cli.settings import from_mapping, to_mapping

LOG = "log.jsonl"
"""Its name in the folder of the cache."""


@dataclass(frozen=True, slots=True)
class FileState:
    """Changes whenever the file does."""

    path: str
    size: int
    modified: int


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What became of one clip."""

    file: FileState
    """Size and time are -1 in the log of an old version."""
    speaker: str | None
    """None in the log of an old version."""
    name: str
    left_out: str
    """Why; empty where it was prepared."""
    facts: ClipFacts | None
    """None where it was left out, and in the log of an old version."""


def state_of(path: Path) -> FileState:
    """Of a file as it is now; size and time are -1 where it cannot be looked at."""
    try:
        state = path.stat()
    except OSError:
        return FileState(str(path.resolve()), -1, -1)
    return FileState(str(path.resolve()), state.st_size, state.st_mtime_ns)


def note(log: Path, source: SourceClip, *, n_frames: int, left_out: str, facts: ClipFacts | None) -> None:
    """Add a line. Raises DataError when it cannot be written."""
    state = state_of(source.path)
    line = {
        "path": state.path,
        "frames": n_frames,
        "left_out": left_out,
        "size": state.size,
        "modified": state.modified,
        "speaker": source.speaker,
        "name": source.name,
        "facts": None if facts is None else to_mapping(facts),
    }
    try:
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    except OSError as error:
        raise DataError(f"{log}: cannot write the log: {error.strerror}") from error


def end_last_line(log: Path) -> None:
    """Let the next line begin anew where a killed run left half a line. Raises as `note`."""
    try:
        if not log.is_file() or log.stat().st_size == 0:
            return
        with log.open("rb+") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
    except OSError as error:
        raise DataError(f"{log}: cannot write the log: {error.strerror}") from error


def read_log(log: Path) -> Iterator[LogEntry]:
    """Its lines, the oldest first; none where there is no log.

    A line that was cut short, by a run that was killed, is passed over. Raises DataError when the log cannot
    be read or a line is of something else.
    """
    if not log.is_file():
        return
    try:
        with log.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                values = _parsed(line)
                if values is not None:
                    yield _entry(values, f"{log}, line {number}")
    except OSError as error:
        raise DataError(f"{log}: cannot read the log: {error.strerror}") from error


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        return None


def _entry(values: Any, where: str) -> LogEntry:
    try:
        facts = values.get("facts")
        return LogEntry(
            FileState(values["path"], values.get("size", -1), values.get("modified", -1)),
            values.get("speaker"),
            values.get("name", Path(values["path"]).stem),
            values["left_out"],
            None if facts is None else _facts(facts, where),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(f"{where}: is no line of `lipsync prepare` ({error!r}): remove it") from error


def _facts(values: Mapping[str, object], where: str) -> ClipFacts:
    try:
        return from_mapping(ClipFacts, values, where)
    except SettingsError as error:
        raise DataError(f"{error}: remove the line") from error
