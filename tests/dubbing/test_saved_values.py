from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipsync_cli.dubbing.saved_values import load_values, save_values


@dataclass(frozen=True)
class Leaf:
    numbers: np.ndarray
    name: str | None


@dataclass(frozen=True)
class Tree:
    leaves: dict[int, Leaf]
    pair: tuple[float, bool]
    rest: list[int]


def test_dataclasses_of_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    leaf = Leaf(np.arange(6, dtype=np.float32).reshape(2, 3), None)
    save_values(tmp_path / "tree", Tree({3: leaf, 7: Leaf(np.zeros((0, 2), bool), "é")}, (0.1, True), [1, 2]))
    back = load_values(tmp_path / "tree", Tree, Leaf)
    assert (back.pair, back.rest, list(back.leaves)) == ((0.1, True), [1, 2], [3, 7])
    assert back.leaves[3].numbers.dtype == np.float32
    assert np.array_equal(back.leaves[3].numbers, leaf.numbers)
    assert back.leaves[7].numbers.shape == (0, 2)
    assert (back.leaves[3].name, back.leaves[7].name) == (None, "é")
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]


def test_what_cannot_be_saved_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="object"):
        save_values(tmp_path / "tree", [object()])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("largest", [3000, 9000])
def test_a_full_disk_leaves_no_file_and_what_was_there_stays(
    largest: int, tmp_path: Path, full_disk: Any
) -> None:
    save_values(tmp_path / "tree", [1])
    with full_disk(largest), pytest.raises(OSError, match="File too large"):
        save_values(tmp_path / "tree", [np.arange(1000.0), np.arange(1000.0)])
    assert [path.name for path in tmp_path.iterdir()] == ["tree"]
    assert load_values(tmp_path / "tree") == [1]


def test_mappings_are_made_of_one_item_after_the_other(tmp_path: Path) -> None:
    save_values(tmp_path / "tree", {"a": {1: np.arange(3)}, "b": {}})
    seen = []

    def listed(items: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
        pairs = dict(items)
        seen.append(list(pairs))
        return pairs

    back = load_values(tmp_path / "tree", mapping=listed)
    assert seen == [[1], [], ["a", "b"]]
    assert back["a"][1].tolist() == [0, 1, 2]


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "text", "class", "pickle"])
def test_a_damaged_file_is_said_to_be_damaged(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "tree"
    save_values(path, Leaf(np.arange(1000.0), "a"))
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "changed":
        middle = len(content) // 2
        path.write_bytes(content[:middle] + b"\xff\x01" + content[middle + 2 :])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("nothing of the kind")
    elif damage == "pickle":
        with path.open("wb") as file:
            np.savez(file, tree=np.array([math.pi, "x"], dtype=object))
    classes = () if damage == "class" else (Leaf,)
    with pytest.raises(ValueError, match="damaged"):
        load_values(path, *classes)


def test_a_missing_file_is_not_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_values(tmp_path / "tree")
