from __future__ import annotations

import json
import math

import numpy as np
import pytest

from lipsync_cli.errors import DataError
from lipsync_cli.evaluation.results import (
    ClipResult,
    LeftOut,
    OpeningSeries,
    collect,
    outcome_from_json,
    outcome_to_json,
)
from lipsync_cli.evaluation.sync import SyncCurve, SyncSecond
from lipsync_cli.metrics.sync import Offset


def _clip(name: str, **figures: float) -> ClipResult:
    return ClipResult(name, figures, {}, n_frames=75)


def _full() -> ClipResult:
    scores = np.linspace(0, 1, 31)
    scores[0] = math.nan
    return ClipResult(
        "s1/one",
        {"ssim": 0.5},
        {"sync": "silent"},
        n_frames=3,
        own_offset=2.0,
        n_unpaired=1,
        n_without_face=4,
        series=OpeningSeries(np.array([0.0, 0.04]), np.array([0.1, 0.2]), np.array([math.nan, 0.3])),
        sync=SyncCurve(Offset(15, 0.5, 1.0), scores, 0.25, [SyncSecond(0.0, math.nan, None)], 20),
    )


def test_a_result_survives_json_with_its_gaps() -> None:
    text = json.dumps(outcome_to_json(_full()), allow_nan=False)
    again = outcome_from_json(json.loads(text))
    assert outcome_to_json(again) == json.loads(text)
    assert isinstance(again, ClipResult)
    assert again.series is not None
    assert math.isnan(again.series.real[0])
    assert again.sync is not None
    assert again.sync.best == Offset(15, 0.5, 1.0)
    assert math.isnan(again.sync.seconds[0].score)


def test_a_clip_left_out_survives_json() -> None:
    assert outcome_from_json(outcome_to_json(LeftOut("a", "no face"))) == LeftOut("a", "no face")


def test_figures_are_summed_up_over_the_clips_that_have_them() -> None:
    together = collect([_clip("b", ssim=0.5, offset=1.0), LeftOut("c", "no face"), _clip("a", ssim=0.7)])
    assert [clip.name for clip in together.clips] == ["a", "b"]
    assert together.left_out == [LeftOut("c", "no face")]
    assert together.figures["ssim"].mean == pytest.approx(0.6)
    assert (together.figures["ssim"].n, together.figures["offset"].n) == (2, 1)
    assert list(together.figures) == ["ssim", "offset"]


def test_all_clips_bad_is_an_error_that_says_why() -> None:
    with pytest.raises(DataError, match=r"none of 2 clips.*a: no face; b: silent"):
        collect([LeftOut("b", "silent"), LeftOut("a", "no face")])
    with pytest.raises(DataError, match="none of 0"):
        collect([])
