"""What earlier dubs saw of the same video, in the user's cache folder: it need not be watched again."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lipsync_cli.dubbing.saved_values import OfPairs, load_values, save_values

LARGEST = 1_000_000_000
"""Bytes that the folder holds at most; what was not used for the longest time goes first."""
_LOG = logging.getLogger(__name__)


class FirstPassCache:
    """Results of first passes, each in a file of its own.

    Whatever is wrong with the folder or a file, a dub goes on without: it only costs time.

    Args:
        folder: made when something is saved.
        key: everything that a first pass depends on, as JSON values.
        largest: bytes of all files together.
    """

    def __init__(self, folder: Path, key: Mapping[str, object], *, largest: int = LARGEST) -> None:
        text = json.dumps(key, sort_keys=True)
        self._path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"
        self._largest = largest

    def load(self, *classes: type, mapping: OfPairs = dict) -> Any:
        """What was saved under this key; None where there is nothing that can be read."""
        try:
            found = load_values(self._path, *classes, mapping=mapping)
            self._path.touch()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _LOG.info("%s; the video is watched again", error)
            return None
        return found

    def save(self, first_pass: object) -> None:
        """Keep a result, and let go of old ones where there are too many."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            save_values(self._path, first_pass)
            self._make_room()
        except OSError as error:
            _LOG.info("%s: not kept for later dubs (%s)", self._path, error.strerror)

    def _make_room(self) -> None:
        files = sorted(self._path.parent.glob("*.npz"), key=lambda path: path.stat().st_mtime, reverse=True)
        total = 0
        for path in files:
            total += path.stat().st_size
            if total > self._largest:
                path.unlink(missing_ok=True)
