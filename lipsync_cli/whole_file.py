"""A file that appears under its name only when it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_PART = ".part"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write what then takes the name `path`, in the place of a file that may be there.

    A hidden file of the same folder. After an error it is gone, and a file that was there is as it was. Of
    the disk's own errors (OSError) each caller tells in its own words.
    """
    part = path.with_name(f".{path.name}{_PART}")
    try:
        yield part
        part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what is left, in a folder and those below it, of files whose writer was killed."""
    for part in folder.rglob(f".*{_PART}"):
        part.unlink(missing_ok=True)
