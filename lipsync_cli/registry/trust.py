"""Which files of the cache the user has vouched for: name of the registry -> file and its sha256.

Kept as trusted.json in the cache folder. It holds what `lipsync weights import` has converted, and what
`--trust` has confirmed where no sha256 is publicly known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lipsync_cli.errors import SettingsError, WeightsError
from lipsync_cli.settings import from_mapping, to_mapping
from lipsync_cli.whole_file import whole_file

FILE = "trusted.json"


@dataclass(frozen=True, slots=True)
class TrustedFile:
    """A file of the cache folder that stands for a name of the registry."""

    file: str
    """File name."""
    sha256: str
    origin: str
    """Where it came from: an address or the path that was imported."""


@dataclass(frozen=True, slots=True)
class _Content:
    weights: dict[str, TrustedFile]


def read_trusted(folder: Path) -> Mapping[str, TrustedFile]:
    """All names with a file that the user vouched for. WeightsError when trusted.json cannot be read."""
    path = folder / FILE
    try:
        content: object = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path}: cannot be read ({error}): remove it and import your files again"
        ) from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path}: not a JSON object: remove it and import your files again")
    try:
        return from_mapping(_Content, content, str(path)).weights
    except SettingsError as error:
        raise WeightsError(f"{error}: remove it and import your files again") from error


def remember(folder: Path, name: str, trusted: TrustedFile) -> None:
    """From now on the name stands for that file of the folder. WeightsError when it cannot be written."""
    content = _Content({**read_trusted(folder), name: trusted})
    path = folder / FILE
    try:
        with whole_file(path) as part:
            part.write_text(json.dumps(to_mapping(content), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written: {error.strerror}") from error
