"""Dataclasses of arrays and plain values in one file, written at once and read back without running code."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lipsync_cli.whole_file import whole_file

_TREE = "tree"
OfPairs = Callable[[Iterable[tuple[Any, Any]]], Mapping[Any, Any]]
"""Makes a mapping of its items, which come one after the other."""


def save_values(path: Path, value: object) -> None:
    """Write a value made of dataclasses, mappings, lists, tuples, arrays and plain values.

    Of a mapping, one item at a time is asked for and written. The file appears under its name when it is
    complete and on the disk. OSError when it cannot be written, TypeError for a value of another kind.
    """
    with whole_file(path) as part, part.open("wb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            tree = _Packer(archive).packed(value)
            _write(archive, _TREE, np.array(json.dumps(tree)))
        file.flush()
        os.fsync(file.fileno())


def load_values(path: Path, *classes: type, mapping: OfPairs = dict) -> Any:
    """The value of a file of `save_values`; its dataclasses may be of these classes only.

    mapping: makes the mappings, for those that are too large for the memory. ValueError when the file is
    damaged or holds something else, OSError when it cannot be read.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            tree = json.loads(str(stored[_TREE]))
            return _Unpacker(stored, {found.__name__: found for found in classes}, mapping).unpacked(tree)
    except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: damaged, or of another version ({error})") from error


def _write(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    """Add an array as `numpy.savez` does."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)


class _Packer:
    """Writes the arrays of a value as it meets them; the rest of the value becomes JSON."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._n_arrays = 0

    def packed(self, value: object) -> Any:
        if value is None or isinstance(value, str | int | float | bool):
            return value
        if isinstance(value, np.ndarray):
            name = f"array{self._n_arrays}"
            self._n_arrays += 1
            _write(self._archive, name, value)
            return {"array": name}
        if isinstance(value, Mapping):
            return {"mapping": [[self.packed(k), self.packed(v)] for k, v in value.items()]}
        if isinstance(value, list | tuple):
            return {type(value).__name__: [self.packed(item) for item in value]}
        if is_dataclass(value) and not isinstance(value, type):
            parts = {field.name: self.packed(getattr(value, field.name)) for field in fields(value)}
            return {"class": type(value).__name__, "fields": parts}
        raise TypeError(f"{type(value).__name__} cannot be saved")


class _Unpacker:
    """Puts a value together again; each array is read when its turn comes."""

    def __init__(
        self, arrays: Mapping[str, NDArray[Any]], classes: Mapping[str, type], mapping: OfPairs
    ) -> None:
        self._arrays = arrays
        self._classes = classes
        self._mapping = mapping

    def unpacked(self, tree: Any) -> Any:
        if not isinstance(tree, dict):
            return tree
        if "array" in tree:
            return self._arrays[tree["array"]]
        if "mapping" in tree:
            return self._mapping((self.unpacked(k), self.unpacked(v)) for k, v in tree["mapping"])
        if "class" in tree:
            parts = {name: self.unpacked(part) for name, part in tree["fields"].items()}
            return self._classes[tree["class"]](**parts)
        if "list" in tree:
            return [self.unpacked(item) for item in tree["list"]]
        return tuple(self.unpacked(item) for item in tree["tuple"])
