"""The errors that a user can cause or meet, each with the exit code that the command line ends with.

A message says what is wrong, in which file, and what to do now. Bugs are not LipsyncErrors: they keep
their traceback. Exit code 2 is left to wrong usage of the command line.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class LipsyncError(Exception):
    """Something that the user can put right; the parent of all others."""

    exit_code: ClassVar[int] = 1


class MediaError(LipsyncError):
    """A video, picture or sound file that cannot be read or written."""

    exit_code: ClassVar[int] = 3


class FaceError(LipsyncError):
    """No frame has a face, or the face asked for is not there."""

    exit_code: ClassVar[int] = 4


class WeightsError(LipsyncError):
    """Weights that are missing, corrupt, or of another network."""

    exit_code: ClassVar[int] = 5


class SettingsError(LipsyncError):
    """Unknown, contradicting or out-of-range settings."""

    exit_code: ClassVar[int] = 6


class DataError(LipsyncError):
    """A training or evaluation data set that cannot be used."""

    exit_code: ClassVar[int] = 7


def unwritable(path: Path, reason: str | None) -> MediaError:
    """That a file, or one in a folder, cannot be written; reason: the system's (`OSError.strerror`)."""
    return MediaError(f"{path}: cannot be written ({reason}); check the free space and permissions")
