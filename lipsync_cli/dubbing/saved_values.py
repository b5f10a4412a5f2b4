"""Dataclasses of arrays and plain values in one file, written at once and read back without running code."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TREE = "tree"
Arrays = dict[str, NDArray[Any]]


def save_values(path: Path, value: object) -> None:
    """Write a value made of dataclasses, mappings, lists, tuples, arrays and plain values.

    The file appears under its name when it is complete and on the disk. OSError when it cannot be written,
    TypeError for a value of another kind.
    """
    arrays: Arrays = {}
    tree = json.dumps(_packed(value, arrays))
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            np.savez(file, **{_TREE: np.array(tree)}, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load_values(path: Path, *classes: type) -> Any:
    """The value of a file of `save_values`; its dataclasses may be of these classes only.

    ValueError when the file is damaged or holds something else, OSError when it cannot be read.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return _unpacked(
            json.loads(str(arrays.pop(_TREE))), arrays, {found.__name__: found for found in classes}
        )
    except (KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: damaged, or of another version ({error})") from error


def _packed(value: object, arrays: Arrays) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, np.ndarray):
        name = f"array{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if isinstance(value, Mapping):
        return {"mapping": [[_packed(k, arrays), _packed(v, arrays)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return {type(value).__name__: [_packed(item, arrays) for item in value]}
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: _packed(getattr(value, field.name), arrays) for field in fields(value)}
        return {"class": type(value).__name__, "fields": parts}
    raise TypeError(f"{type(value).__name__} cannot be saved")


def _unpacked(tree: Any, arrays: Arrays, classes: Mapping[str, type]) -> Any:
    def inner(part: Any) -> Any:
        return _unpacked(part, arrays, classes)

    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        return arrays[tree["array"]]
    if "mapping" in tree:
        return {inner(k): inner(v) for k, v in tree["mapping"]}
    if "class" in tree:
        return classes[tree["class"]](**{name: inner(part) for name, part in tree["fields"].items()})
    if "list" in tree:
        return [inner(item) for item in tree["list"]]
    return tuple(inner(item) for item in tree["tuple"])
