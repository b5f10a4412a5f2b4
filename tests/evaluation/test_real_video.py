"""The measurements on real faces: what must be perfect is, and what is spoilt shows it."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import pytest

from lipsync_cli.evaluation.results import ClipResult
from lipsync_cli.evaluation.run import compare_videos
from lipsync_cli.faces.detector import FullRangeDetector
from lipsync_cli.faces.landmarks import MeshLandmarks
from lipsync_cli.interfaces import Frame, Image
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.media.writer import VideoWriter

pytestmark = pytest.mark.shared

Compare = Callable[..., ClipResult]


@pytest.fixture(scope="module")
def clip(shared_folder: Path) -> Path:
    return shared_folder / "data" / "grid" / "s3" / "sbia1a.mp4"


@pytest.fixture(scope="module")
def frames(clip: Path) -> list[Image]:
    return [frame.image for frame in VideoReader(clip)]


@pytest.fixture(scope="module")
def compare(clip: Path, weights_folder: Path) -> Compare:
    detector = FullRangeDetector(weights_folder / "face_detection_full_range.tflite")
    finder = MeshLandmarks(weights_folder / "face_landmark.tflite")
    return lambda generated, **options: compare_videos(
        clip, generated, detector=detector, finder=finder, **options
    )


def _copy(path: Path, pictures: list[Image], speech: Path) -> Path:
    height, width = pictures[0].shape[:2]
    options = {"width": width, "height": height, "rate": Fraction(25), "speech": speech}
    with VideoWriter(path, **options, crf=12, preset="veryfast") as writer:
        for index, picture in enumerate(pictures):
            writer.write(Frame(index, index / 25, picture))
    return path


def test_a_real_clip_beside_itself_is_perfect(clip: Path, compare: Compare) -> None:
    figures = compare(clip).figures
    ones = ("ssim", "opening_correlation", "opening_amplitude", "width_correlation", "sharpness_native")
    assert [figures[name] for name in ones] == pytest.approx([1.0] * 5, abs=1e-9)
    assert (figures["psnr"], figures["ifc"], figures["lmd_sum"]) == (100.0, 0.0, 0.0)
    assert figures["pause_ratio"] < 0.2


def test_coding_again_hardly_changes_the_figures(
    clip: Path, compare: Compare, frames: list[Image], tmp_path: Path
) -> None:
    figures = compare(_copy(tmp_path / "copy.mp4", frames, clip)).figures
    assert figures["opening_correlation"] > 0.98
    assert figures["opening_amplitude"] == pytest.approx(1.0, abs=0.05)
    assert figures["sharpness_96"] == pytest.approx(1.0, abs=0.05)
    assert figures["psnr_gain"] > 8
    assert figures["ssim"] > 0.97


def test_blur_costs_sharpness_and_detail(
    clip: Path, compare: Compare, frames: list[Image], tmp_path: Path
) -> None:
    blurred = [cv2.GaussianBlur(frame, (0, 0), 3) for frame in frames]
    figures = compare(_copy(tmp_path / "blur.mp4", blurred, clip)).figures
    assert figures["sharpness_96"] < 0.2
    assert figures["sharpness_native"] < 0.2
    assert figures["ssim"] < 0.85
    assert figures["flicker_ratio"] < 0.9


def test_a_frozen_face_follows_nothing_and_gains_nothing(
    clip: Path, compare: Compare, frames: list[Image], tmp_path: Path
) -> None:
    figures = compare(_copy(tmp_path / "frozen.mp4", [frames[10]] * len(frames), clip)).figures
    assert figures["opening_amplitude"] < 0.1
    assert abs(figures["opening_correlation"]) < 0.5
    assert abs(figures["psnr_gain"]) < 1
    assert figures["lmd_sum"] > 30


def test_a_late_picture_is_found_by_its_offset_and_put_right_by_own_offset(
    clip: Path, compare: Compare, frames: list[Image], tmp_path: Path
) -> None:
    late = _copy(tmp_path / "late.mp4", [frames[max(0, index - 4)] for index in range(len(frames))], clip)
    assert compare(late).figures["opening_correlation"] < 0.6
    assert compare(late, own_offset=4).figures["opening_correlation"] > 0.97
    assert compare(late, own_offset=-4).figures["opening_correlation"] < 0.6
