from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.errors import SettingsError
from lipsync_cli.training.board import open_board, require_tensorboard


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def test_losses_are_kept_and_those_after_the_last_save_are_dropped_when_the_run_goes_on(tmp_path):
    for start, value in ((0, 1.0), (2, 2.0)):
        with open_board(tmp_path, start) as board:
            for step in range(start + 1, 5):
                board.add(step, {"sync": value}, np.zeros((8, 8, 3), np.uint8))
    assert scalars(tmp_path) == {"sync": [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)]}


def test_without_tensorboard_it_says_how_to_get_it(monkeypatch):
    require_tensorboard()
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("lipsync_cli.training.board.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'lipsync_cli\[train\]'"):
        require_tensorboard()
