from __future__ import annotations

import cv2
import numpy as np
import pytest

from lipsync_cli.errors import DataError
from lipsync_cli.training import run_folder
from lipsync_cli.training.curves import draw_curves


def a_run(folder, n_steps: int, slope: float):
    folder.mkdir()
    for step in range(1, n_steps + 1):
        run_folder.log(folder, step, 0.5 * step, {"pixel": 1 + slope * step, "forward_ms": 3.0})
    run_folder.keep_figures(folder, n_steps, {"lmd": 2.0}, None)
    return folder


def coloured(picture) -> int:
    """Pixels that are neither white, grey nor black."""
    image = cv2.imread(str(picture)).astype(int)
    return int(((image.max(axis=2) - image.min(axis=2)) > 60).sum())


def test_runs_are_drawn_over_each_other(tmp_path):
    first, second = a_run(tmp_path / "a", 700, 0.01), a_run(tmp_path / "b", 20, -0.01)
    draw_curves([first], tmp_path / "one.png")
    draw_curves([first, second], tmp_path / "two.png")
    assert 0 < coloured(tmp_path / "one.png") < coloured(tmp_path / "two.png")


def test_figures_that_are_not_finite_leave_a_gap(tmp_path):
    run = a_run(tmp_path / "a", 3, 0.0)
    run_folder.keep_figures(run, 3, {"lmd": float("inf"), "sync": float("nan")}, None)
    draw_curves([run], tmp_path / "one.png")
    assert np.prod(cv2.imread(str(tmp_path / "one.png")).shape) > 0


def test_a_folder_without_a_run_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no run with a log"):
        draw_curves([tmp_path], tmp_path / "one.png")
    assert not (tmp_path / "one.png").exists()
