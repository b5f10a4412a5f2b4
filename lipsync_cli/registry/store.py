"""Finding files of weights and making sure that they are the right ones.

Names of the registry are looked for in this order: the folder of the environment variable LIPSYNC_WEIGHTS,
the user's cache (XDG_CACHE_HOME/lipsync or ~/.cache/lipsync), the folder that comes with the program.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lipsync_cli.errors import WeightsError
from lipsync_cli.registry.entries import Registry, WeightsEntry, read_registry

FOLDER_VARIABLE = "LIPSYNC_WEIGHTS"
_BLOCK = 1 << 20
"""Bytes hashed at a time."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found of one name of the registry."""

    name: str
    entry: WeightsEntry
    path: Path | None
    """None: found nowhere."""
    problem: str | None
    """One line; None: the file is there and right, or absent and the user's own to bring."""


def weights_folder() -> Path:
    """The folder of weights that comes with the program, with its registry.toml.

    `lipsync_cli/_weights` where the package has one (an installed wheel), else `weights/` beside the package
    (a source checkout, also when installed editable).
    """
    package = Path(__file__).resolve().parent.parent
    installed = package / "_weights"
    return installed if installed.is_dir() else package.parent / "weights"


def cache_folder() -> Path:
    """Where users put weights of their own; it need not exist."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "lipsync"


def search_folders() -> list[Path]:
    """Where names are looked for, in order. WeightsError if LIPSYNC_WEIGHTS is set to something else."""
    folders = [cache_folder(), weights_folder()]
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen:
        if not Path(chosen).is_dir():
            raise WeightsError(
                f"{FOLDER_VARIABLE} is set to '{chosen}', which is not a folder: create or unset it"
            )
        folders.insert(0, Path(chosen))
    return folders


def load_registry() -> Registry:
    """The registry that comes with the program."""
    return read_registry(weights_folder() / "registry.toml")


def find_weights(name_or_path: str | Path) -> Path:
    """The file of a name of the registry, checked against its sha256; or a file of the user's own, as given.

    A name of the registry always means that entry; anything else is a path. Raises WeightsError when there is
    no such name or file, when it was found nowhere, or when the file found first is not the registered one.
    """
    registry = load_registry()
    name = str(name_or_path)
    if name in registry.entries:
        path = _locate(registry.entries[name])
        if path is None:
            raise WeightsError(_absent(name, registry.entries[name]))
        verify(path, registry.entries[name])
        return path
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise WeightsError(f"{path}: no such weights file")
    registry.entry(name)
    return path


def find_for_role(role: str, weights_set: str = "default") -> Path:
    """The checked file that plays a role (`silent_lip`, `talking_face`, ...) in a set of the registry."""
    return find_weights(load_registry().name_for(role, weights_set))


def verify(path: Path, entry: WeightsEntry) -> None:
    """Raises WeightsError unless the file is, byte for byte, the registered one."""
    found = sha256_of(path)
    if found != entry.sha256:
        size = path.stat().st_size
        raise WeightsError(
            f"{path}: damaged or of another version: expected sha256 {entry.sha256} ({entry.bytes} bytes), "
            f"found {found} ({size} bytes): {_remedy(path)}"
        )


def verify_all() -> list[Verification]:
    """Check every name of the registry and report, without raising for a bad file."""
    return [_verification(name, entry) for name, entry in load_registry().entries.items()]


def sha256_of(path: Path) -> str:
    """Hexadecimal sha256 of a file, read in blocks; remembered while the file stays unchanged.

    Raises WeightsError when it cannot be read.
    """
    try:
        state = path.stat()
        return _digest(path.resolve(), state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights: {error.strerror}") from error


@cache
def _digest(path: Path, size: int, modified: int) -> str:
    """size and modified only make up the key under which the result is remembered."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def locate(name: str) -> Path | None:
    """The file that a name of the registry stands for, unchecked; None if it is in none of the folders."""
    return _locate(load_registry().entry(name))


def _locate(entry: WeightsEntry) -> Path | None:
    return next((path for folder in search_folders() if (path := folder / entry.file).is_file()), None)


def _verification(name: str, entry: WeightsEntry) -> Verification:
    path = _locate(entry)
    if path is None:
        return Verification(name, entry, None, _absent(name, entry) if entry.shipped else None)
    try:
        verify(path, entry)
    except WeightsError as error:
        return Verification(name, entry, path, str(error))
    return Verification(name, entry, path, None)


def _absent(name: str, entry: WeightsEntry) -> str:
    if entry.shipped:
        return f"weights '{name}': {entry.file} is missing from {weights_folder()}: install lipsync_cli again"
    source = f"fetch it from {entry.url} and " if entry.url else ""
    return f"weights '{name}' do not come with lipsync_cli: {source}put {entry.file} into {cache_folder()}"


def _remedy(path: Path) -> str:
    if path.parent == weights_folder():
        return "install lipsync_cli again"
    return "replace or remove this file"
