"""Finding files of weights and making sure that they are the right ones.

Names of the registry are looked for in this order: the folder of the environment variable LIPSYNC_WEIGHTS,
the user's cache (XDG_CACHE_HOME/lipsync or ~/.cache/lipsync), the folder that comes with the program. In the
cache a file that was imported or trusted (`trust`) goes before the published one.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lipsync_cli.errors import WeightsError
from lipsync_cli.registry.entries import Registry, WeightsEntry, read_registry
from lipsync_cli.registry.trust import read_trusted

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
        path = locate(name)
        if path is None:
            raise WeightsError(_absent(name, registry.entries[name]))
        verify(path, name, registry.entries[name])
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


def verify(path: Path, name: str, entry: WeightsEntry) -> None:
    """Raises WeightsError unless the file is, byte for byte, the registered or the trusted one."""
    found = sha256_of(path)
    expected = _expected(path, name, entry)
    if expected is None:
        raise WeightsError(
            f"{path}: sha256 {found}; the right one is not publicly known: if you trust this file, run "
            f"`lipsync weights import {path} --name {name} --trust`"
        )
    if found != expected:
        size = path.stat().st_size
        right = f"{expected} ({entry.bytes} bytes)" if expected == entry.sha256 else expected
        raise WeightsError(
            f"{path}: damaged or of another version: expected sha256 {right}, "
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
    entry = load_registry().entry(name)
    for folder in search_folders():
        trusted = read_trusted(folder).get(name) if folder == cache_folder() else None
        files = [entry.file] if trusted is None else [trusted.file, entry.file]
        for path in (folder / file for file in files):
            if path.is_file():
                return path
    return None


def forget_digests() -> None:
    """Hash files anew: one was just replaced, maybe within the resolution of its time stamp."""
    _digest.cache_clear()


def _expected(path: Path, name: str, entry: WeightsEntry) -> str | None:
    """The sha256 that a file of that name must have; None where nobody has said."""
    if path.parent == cache_folder():
        trusted = read_trusted(path.parent).get(name)
        if trusted is not None and trusted.file == path.name:
            return trusted.sha256
    return entry.sha256


def _verification(name: str, entry: WeightsEntry) -> Verification:
    path = locate(name)
    if path is None:
        return Verification(name, entry, None, _absent(name, entry) if entry.shipped else None)
    try:
        verify(path, name, entry)
    except WeightsError as error:
        return Verification(name, entry, path, str(error))
    return Verification(name, entry, path, None)


def _absent(name: str, entry: WeightsEntry) -> str:
    if entry.shipped:
        return f"weights '{name}': {entry.file} is missing from {weights_folder()}: install lipsync_cli again"
    if entry.url:
        return f"weights '{name}' do not come with lipsync_cli: run `lipsync weights pull {name}`"
    where = f" from {entry.page}" if entry.page else ""
    return (
        f"weights '{name}' do not come with lipsync_cli: get {entry.file}{where} and run "
        f"`lipsync weights import {entry.file} --name {name}`"
    )


def _remedy(path: Path) -> str:
    if path.parent == weights_folder():
        return "install lipsync_cli again"
    return "replace or remove this file"
