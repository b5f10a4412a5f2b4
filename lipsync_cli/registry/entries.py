"""What registry.toml says: every file of weights by name, and which of them make a set.

[sets.default]            # role -> name
face_detector = "face_detection_full_range"

[weights.face_detection_full_range]
file = "face_detection_full_range.tflite"
...                       # the fields of WeightsEntry
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lipsync_cli.errors import WeightsError
from lipsync_cli.settings import from_mapping, read_toml


@dataclass(frozen=True, slots=True)
class WeightsEntry:
    """One file of weights."""

    file: str
    """File name, in whichever folder of weights it lies."""
    licence: str
    """SPDX identifier, with the attribution where the licence asks for one; says "non-commercial" aloud."""
    architecture: str
    """What the weights are of; for our own checkpoints the name in `models.architectures`."""
    roles: tuple[str, ...]
    """What it can be used as: face_detector, silent_lip, talking_face, ..."""
    sha256: str | None = None
    """Of the whole file, 64 hexadecimal digits; None where it is not publicly known with certainty."""
    bytes: int | None = None
    """None where it is not publicly known with certainty."""
    sha256_begins: str | None = None
    """What the publisher's file name tells of a sha256 that is not known whole."""
    url: str | None = None
    """Where the file itself comes from, if there is a public address (http or https)."""
    page: str | None = None
    """Where people find it: its project's page."""
    shipped: bool = True
    """False: not part of this program, the user puts the file into the cache folder."""


@dataclass(frozen=True, slots=True)
class _RegistryFile:
    weights: dict[str, WeightsEntry]
    sets: dict[str, dict[str, str]]


@dataclass(frozen=True, slots=True)
class Registry:
    """All known weights."""

    path: Path
    """The registry.toml that was read."""
    entries: Mapping[str, WeightsEntry]
    """Name -> entry."""
    sets: Mapping[str, Mapping[str, str]]
    """Name of the set -> role -> name of the weights."""

    def entry(self, name: str) -> WeightsEntry:
        """The entry of that name; WeightsError, listing the known names, if there is none."""
        if name not in self.entries:
            raise WeightsError(f"no weights are called '{name}': known are {', '.join(sorted(self.entries))}")
        return self.entries[name]

    def name_for(self, role: str, weights_set: str = "default") -> str:
        """The name of the weights that play a role in a set; WeightsError if set or role is unknown."""
        if weights_set not in self.sets:
            raise WeightsError(
                f"no set of weights is called '{weights_set}': known are {', '.join(self.sets)}"
            )
        roles = self.sets[weights_set]
        if role not in roles:
            raise WeightsError(
                f"the set '{weights_set}' of {self.path} has no '{role}', only {', '.join(roles)}"
            )
        return roles[role]


@cache
def read_registry(path: Path) -> Registry:
    """Parse and check a registry.toml, once per process.

    Raises WeightsError when it is missing or a set names weights that do not exist or cannot play the role,
    SettingsError (naming the key) when a field is unknown, missing, or of the wrong type.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no registry of weights: install lipsync_cli again")
    content = from_mapping(_RegistryFile, read_toml(path), str(path))
    registry = Registry(path, content.weights, content.sets)
    for name, entry in registry.entries.items():
        if entry.shipped and (entry.sha256 is None or entry.bytes is None):
            raise WeightsError(f"{path}: '{name}' comes with the program and needs its sha256 and bytes")
    for weights_set, roles in registry.sets.items():
        for role, name in roles.items():
            if role not in registry.entry(name).roles:
                raise WeightsError(f"{path}: set '{weights_set}' uses '{name}' as {role}, which it cannot be")
    return registry
