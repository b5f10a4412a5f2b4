from __future__ import annotations

import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipsync_cli.errors import DataError, FaceError, MediaError
from lipsync_cli.evaluation.clip_figures import Instruments
from lipsync_cli.evaluation.figures import FIGURES
from lipsync_cli.evaluation.results import ClipResult
from lipsync_cli.evaluation.run import compare_pair, compare_videos, score_video
from lipsync_cli.faces.recognition import SFace

N = 75


def _compare(world: Any, reference: Path, generated: Path, **options: Any) -> ClipResult:
    return compare_videos(reference, generated, detector=world.faces, finder=world.faces, **options)


def test_a_video_beside_itself_has_perfect_figures(world: Any) -> None:
    real = world.film("real", world.loudness(N))
    result = _compare(world, real, real)
    perfect = {
        "ssim": 1.0,
        "psnr": 100.0,
        "psnr_lower": 100.0,
        "ifc": 0.0,
        "flicker_ratio": 1.0,
        "lmd_sum": 0.0,
        "lmd_coordinates": 0.0,
        "opening_correlation": 1.0,
        "opening_amplitude": 1.0,
        "opening_ratio": 1.0,
        "width_correlation": 1.0,
        "sharpness_96": 1.0,
        "sharpness_native": 1.0,
    }
    assert {name: result.figures[name] for name in perfect} == pytest.approx(perfect, abs=1e-9)
    assert (result.n_frames, result.n_unpaired, result.n_without_face) == (N, 0, 0)


def test_every_figure_has_a_meaning_in_the_table(world: Any) -> None:
    levels = world.loudness(N)
    real = world.film("real", levels, sound=world.sound_of(levels))
    result = _compare(world, real, real, scorer=world.scorer)
    assert set(result.figures) | set(result.left_out) <= set(FIGURES) | {"sync", "real_sync", "pauses"}


def test_identity_compares_the_faces_of_the_same_moment(world: Any, mean_colour: Path) -> None:
    levels = world.loudness(N)
    real = world.film("real", levels)
    tinted = world.film("tinted", levels, change=lambda image: image // np.array([1, 2, 2], np.uint8))
    instruments = Instruments(world.faces, world.faces, recognizer=SFace(mean_colour))
    assert compare_pair(real, real, instruments).figures["identity"] == pytest.approx(1.0)
    # grey (1, 1, 1) beside red (1, 0.5, 0.5): 2 / (3 ** 0.5 * 1.5 ** 0.5)
    found = compare_pair(real, tinted, instruments).figures["identity"]
    assert found == pytest.approx(2 / math.sqrt(4.5), abs=0.01)
    assert "identity" not in _compare(world, real, tinted).figures


def test_a_mouth_that_moves_half_as_much_has_half_the_amplitude(world: Any) -> None:
    levels = world.loudness(N)
    figures = _compare(world, world.film("real", levels), world.film("half", 0.2 + levels / 2)).figures
    assert figures["opening_amplitude"] == pytest.approx(0.5, abs=0.03)
    assert figures["opening_correlation"] > 0.98
    assert figures["width_correlation"] > 0.9


def test_another_speech_does_not_correlate(world: Any) -> None:
    real, other = world.film("real", world.loudness(N)), world.film("other", world.loudness(N, seed=5))
    assert abs(_compare(world, real, other).figures["opening_correlation"]) < 0.35


def test_a_frozen_copy_follows_nothing(world: Any) -> None:
    levels = world.loudness(N)
    figures = _compare(world, world.film("real", levels), world.film("frozen", np.full(N, 0.4))).figures
    assert figures["opening_amplitude"] < 0.05
    assert abs(figures["opening_correlation"]) < 0.4


def test_pasting_the_most_closed_frame_gains_nothing_over_the_static_baseline(world: Any) -> None:
    levels = world.loudness(N)
    static = world.film("static", np.full(N, levels.min()), change=None)
    figures = _compare(world, world.film("real", levels), static).figures
    assert figures["psnr_gain"] == pytest.approx(0.0, abs=1.5)
    assert figures["psnr_lower"] < 30


def test_a_blurred_copy_is_less_sharp_and_keeps_its_openings(world: Any) -> None:
    levels = world.loudness(N)
    figures = _compare(
        world, world.film("real", levels), world.film("blurred", levels, change=world.blurred)
    ).figures
    assert figures["sharpness_native"] < 0.3
    assert figures["sharpness_96"] < 0.5
    assert figures["ssim"] < 0.98
    assert figures["opening_correlation"] > 0.98


@pytest.mark.parametrize("own_offset", [-5, 3])
def test_the_real_openings_are_taken_earlier_by_their_own_offset(world: Any, own_offset: int) -> None:
    """The real picture at t shows the words at t + own_offset, the generated one those at t."""
    words = world.loudness(N + 20)
    real = world.film("real", words[10 + own_offset : 10 + own_offset + N])
    dub = world.film("dub", words[10 : 10 + N])
    corrected = _compare(world, real, dub, own_offset=own_offset)
    assert corrected.figures["opening_correlation"] > 0.99
    assert corrected.figures["width_correlation"] > 0.95
    assert _compare(world, real, dub).figures["opening_correlation"] < 0.6
    assert _compare(world, real, dub, own_offset=-own_offset).figures["opening_correlation"] < 0.6
    assert corrected.series is not None
    assert np.isnan(corrected.series.real).sum() == abs(own_offset)


@pytest.mark.parametrize("late", [-4, 0, 3])
def test_the_av_offset_says_where_the_sound_lies(world: Any, late: int) -> None:
    """The picture at t matches the sound at t + offset: positive when the sound comes late."""
    words = world.loudness(N + 20)
    real = world.film("real", words[10 : 10 + N], sound=world.sound_of(words[10 : 10 + N]))
    shifted = world.film("dub", words[10 : 10 + N], sound=world.sound_of(words[10 - late : 10 - late + N]))
    result = _compare(world, real, shifted, scorer=world.scorer)
    assert result.figures["offset"] == late
    assert result.figures["in_sync"] == (abs(late) <= 1)
    assert "offset_within_1" not in result.figures  # a still mouth may have it by chance
    assert result.figures["real_offset"] == 0
    assert result.figures["confidence"] > 0.05
    assert result.sync is not None
    assert {second.offset for second in result.sync.seconds} <= {late - 1, late, late + 1, None}


def test_a_scorer_of_unit_vectors_is_asked_once_a_window_and_scores_the_same(world: Any) -> None:
    words = world.loudness(N)
    video = world.film("video", words, sound=world.sound_of(words))

    class Slow:
        lips_size = (48, 96)
        __call__ = world.embedding_scorer.__call__

    fast = score_video(video, Instruments(world.faces, world.faces, world.embedding_scorer))
    slow = score_video(video, Instruments(world.faces, world.faces, Slow()))
    assert fast.figures == pytest.approx(slow.figures, abs=1e-6)


def test_a_video_alone_has_an_offset_a_confidence_and_a_curve(world: Any) -> None:
    words = world.loudness(N)
    video = world.film("alone", words, sound=world.sound_of(words))
    result = score_video(video, Instruments(world.faces, world.faces, world.scorer))
    assert result.figures["offset"] == 0
    assert result.sync is not None
    assert [second.start for second in result.sync.seconds] == pytest.approx([0.0, 1.0, 2.0])
    assert result.sync.n_windows == N - 4
    assert result.n_frames == N


def test_the_mouth_in_the_pauses_is_measured_apart(world: Any) -> None:
    words = world.loudness(100)
    quiet = (np.arange(100) >= 40) & (np.arange(100) < 65)
    sound = world.sound_of(words)
    sound[np.repeat(quiet, 640)] = 0
    real = world.film("real", np.where(quiet, 0.05, words), sound=sound)
    open_mouth = world.film("open", np.where(quiet, 0.5, words), sound=sound)
    closed = _compare(world, real, real).figures
    left_open = _compare(world, real, open_mouth).figures
    assert closed["pause_ratio"] < 0.1
    assert left_open["pause_ratio"] > 0.4
    assert left_open["real_pause_opening"] == pytest.approx(closed["pause_opening"])
    assert left_open["speech_opening"] == pytest.approx(closed["speech_opening"], rel=0.1)


def test_frames_without_a_face_are_counted_and_not_compared(world: Any) -> None:
    levels = world.loudness(N)
    real = world.film("real", levels)
    result = _compare(world, real, world.film("gap", levels, hidden=range(30, 36)))
    assert result.n_without_face == 6
    assert result.figures["opening_correlation"] > 0.99
    hidden = world.film("hidden", levels, hidden=range(30, 36))
    assert _compare(world, hidden, hidden).n_frames == N - 6
    assert _compare(world, hidden, hidden).figures["psnr"] == 100.0


def test_a_pair_of_other_frame_rates_is_paired_by_time(world: Any) -> None:
    levels = world.loudness(N)
    twice = np.interp(np.arange(2 * N - 1) / 2, np.arange(N), levels)
    figures = _compare(world, world.film("real", levels), world.film("fast", twice, rate=50)).figures
    assert figures["opening_correlation"] > 0.99


def test_a_pair_that_differs_by_a_few_frames_is_measured_where_both_are(world: Any) -> None:
    levels = world.loudness(N)
    real = world.film("real", levels)
    shorter, longer = world.film("shorter", levels[:70]), world.film("longer", [*levels, 0.1, 0.2, 0.3])
    assert _compare(world, real, shorter).n_frames == 70
    result = _compare(world, real, longer)
    assert (result.n_frames, result.n_unpaired) == (N, 3)


def test_lengths_and_sizes_that_differ_are_refused(world: Any) -> None:
    levels = world.loudness(N)
    real = world.film("real", levels)
    with pytest.raises(DataError, match=r"short\.mp4 lasts 2\.00 s.*real\.mp4 3\.00 s"):
        _compare(world, real, world.film("short", levels[:50]))
    wider = world.film("wider", levels, change=lambda image: np.pad(image, [(0, 0), (0, 10), (0, 0)]))
    with pytest.raises((DataError, FaceError), match=r"wider\.mp4"):
        _compare(world, real, wider)


def test_videos_without_a_face_or_with_fewer_than_15_are_refused(world: Any) -> None:
    levels = world.loudness(N)
    real = world.film("real", levels)
    with pytest.raises(FaceError, match=r"faceless\.mp4: no frame"):
        _compare(world, real, world.film("faceless", levels, hidden=range(N)))
    with pytest.raises(FaceError, match=r"faceless2\.mp4: no frame"):
        _compare(world, world.film("faceless2", levels, hidden=range(N)), real)
    with pytest.raises(FaceError, match=r"brief\.mp4: only 14 frames"):
        _compare(world, real, world.film("brief", levels[:14]))


def test_silent_or_missing_sound_leaves_sync_out_with_its_reason_and_the_rest_stands(world: Any) -> None:
    levels = world.loudness(N)
    real = world.film("real", levels, sound=world.sound_of(levels))
    silent = world.film("silent", levels, sound=np.zeros(N * 640, np.float32))
    result = _compare(world, real, silent, scorer=world.scorer)
    assert "silent" in result.left_out["sync"]
    assert "offset" not in result.figures
    assert result.figures["real_offset"] == 0
    assert result.figures["opening_correlation"] > 0.99
    assert (
        "no sound" in _compare(world, real, world.film("mute", levels), scorer=world.scorer).left_out["sync"]
    )


def test_a_silent_dub_has_all_its_frames_in_the_pause(world: Any) -> None:
    levels = world.loudness(N)
    real = world.film("real", levels, sound=world.sound_of(levels))
    shut = world.film("shut", np.full(N, 0.05), sound=np.zeros(N * 640, np.float32))
    figures = _compare(world, real, shut).figures
    assert figures["pause_ratio"] < 0.1
    assert "speech_opening" not in figures


def test_a_single_video_without_usable_sound_is_refused(world: Any) -> None:
    instruments = Instruments(world.faces, world.faces, world.scorer)
    levels = world.loudness(N)
    with pytest.raises(DataError, match=r"silent\.mp4.*silent"):
        score_video(world.film("silent", levels, sound=np.zeros(N * 640, np.float32)), instruments)
    with pytest.raises(MediaError, match="no sound"):
        score_video(world.film("mute", levels), instruments)
    with pytest.raises(DataError, match=r"brief\.mp4.*too short"):
        score_video(world.film("brief", levels[:15], sound=world.sound_of(levels[:15])), instruments)


def test_a_network_that_answers_nan_is_told_apart_from_a_bad_clip(world: Any) -> None:
    class Broken:
        lips_size = (48, 96)

        def __call__(self, lips: Any, mel: Any) -> Any:
            return world.scorer(lips, mel) * math.nan

    levels = world.loudness(N)
    video = world.film("video", levels, sound=world.sound_of(levels))
    result = _compare(world, video, video, scorer=Broken())
    assert "not finite" in result.left_out["sync"]


def test_missing_and_unreadable_files_are_media_errors(world: Any, tmp_path: Path) -> None:
    real = world.film("real", world.loudness(N))
    text = tmp_path / "text.mp4"
    text.write_text("this is no video")
    for bad in (tmp_path / "absent.mp4", text):
        with pytest.raises(MediaError, match=bad.name):
            _compare(world, real, bad)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_video(world: Any) -> None:
    peaks = []
    for n_frames in (40, 240):
        levels = world.loudness(n_frames)
        video = world.film(f"long{n_frames}", levels, sound=world.sound_of(levels))
        if not peaks:
            _compare(world, video, video)  # what is loaded once is loaded now
        tracemalloc.start()
        _compare(world, video, video)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # 200 frames more: 12 MB of pictures, of which none may be kept; the facts and the sound may
    assert peaks[1] - peaks[0] < 4e6
