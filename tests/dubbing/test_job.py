from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lipsync_cli.dubbing.job import DubCounts, DubReport, DubSettings, NetworkUsed
from lipsync_cli.errors import SettingsError
from lipsync_cli.settings import from_mapping, to_mapping

COUNTS = DubCounts(
    frames=500, dubbed=463, passed_through=37, shots=2, silenced_references=1, video_seconds=20.0
)
REPORT = DubReport(
    video=Path("in.mp4"),
    audio=Path("speech.wav"),
    output=Path("out.mp4"),
    settings=DubSettings(),
    counts=COUNTS,
    networks=(NetworkUsed("talking_face", "gl", "0" * 64),),
    device="cpu",
    precision="fp32",
    width=640,
    height=360,
    bits=8,
    source_bits=8,
    seconds=14.21,
    frames_per_second=35.2,
    peak_memory_mb=None,
)


def test_the_summary_is_one_line_that_counts_the_frames_without_a_face() -> None:
    assert REPORT.summary() == (
        "out.mp4: 500 frames, 20.0 s, 463 dubbed, 37/500 frames without a face passed through, "
        "took 14.2 s (35 fps)"
    )


def test_a_report_survives_json() -> None:
    restored = from_mapping(DubReport, json.loads(json.dumps(to_mapping(REPORT))), "report")
    assert restored == REPORT


def test_a_batch_of_no_frames_is_refused() -> None:
    with pytest.raises(SettingsError, match="--batch 0"):
        DubSettings(batch=0)


@pytest.mark.parametrize("model", ["default", "paper"])
def test_a_silent_lip_generator_of_ones_own_goes_with_a_model_of_ones_own(model: str) -> None:
    with pytest.raises(SettingsError, match="--silent-lip goes with --model FILE"):
        DubSettings(model=model, silent_lip=Path("gs.safetensors"))


def test_the_summary_says_where_colours_were_made_coarser() -> None:
    assert "bits" not in REPORT.summary()
    assert ", 8 bits a colour written of 10, took " in replace(REPORT, source_bits=10).summary()
