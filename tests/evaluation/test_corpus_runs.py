from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lipsync_cli.data.corpora.source import SourceClip
from lipsync_cli.errors import DataError, FaceError, MediaError
from lipsync_cli.evaluation.cases import own_speech, pairs_of, read_unpaired
from lipsync_cli.evaluation.clip_figures import Instruments
from lipsync_cli.evaluation.folders import measure_pairs, with_other_videos
from lipsync_cli.evaluation.making import cut_part, still_video, with_other_sound
from lipsync_cli.evaluation.results import ClipResult, LeftOut
from lipsync_cli.interfaces import Box
from lipsync_cli.media.audio import load_waveform
from lipsync_cli.media.probe import probe_video
from lipsync_cli.media.reader import VideoReader

N = 60


def _clips(world: Any, n_clips: int = 2) -> list[SourceClip]:
    clips = []
    for seed in range(n_clips):
        levels = world.loudness(N, seed=seed)
        path = world.film(f"corpus/s{seed}/clip", levels, sound=world.sound_of(levels))
        clips.append(SourceClip(path, f"s{seed}", "clip"))
    return clips


def _measure(world: Any, folder: Path, make: Any, **options: Any) -> dict[str, ClipResult]:
    given = {"shuffled": False, "real": False, "own_offset": 0.0} | options
    pairs = pairs_of(own_speech(_clips(world)), folder, **given)
    instruments = Instruments(world.faces, world.faces, world.scorer, make=make)
    outcomes = list(measure_pairs(pairs, lambda: instruments))
    assert all(isinstance(outcome, ClipResult) for outcome in outcomes), outcomes
    return {outcome.name: outcome for outcome in outcomes if isinstance(outcome, ClipResult)}


def test_static_and_shuffled_rank_below_the_real_videos_in_every_sync_figure(
    world: Any, tmp_path: Path
) -> None:
    still = partial(still_video, detector=world.faces, finder=world.faces)
    runs = {
        "real": _measure(world, tmp_path / "real", None, real=True),
        "static": _measure(world, tmp_path / "static", still),
        "shuffled": _measure(world, tmp_path / "shuffled", with_other_sound, shuffled=True),
    }
    for name, real in runs["real"].items():
        assert real.figures["psnr"] == 100.0
        assert real.figures["in_sync"] == 1.0
        for baseline in ("static", "shuffled"):
            figures = runs[baseline][name].figures
            for figure in ("opening_correlation", "confidence", "sync_score"):
                assert figures[figure] < real.figures[figure] - 0.05, (baseline, figure)
            assert figures["in_sync"] == 0.0
        assert runs["static"][name].figures["opening_amplitude"] < 0.1
        assert runs["shuffled"][name].figures["psnr"] > 35  # the real pictures


def test_what_is_made_once_is_not_made_again(world: Any, tmp_path: Path) -> None:
    _measure(world, tmp_path / "work", with_other_sound, shuffled=True)

    def refuse(video: Path, speech: Path, output: Path) -> None:
        raise AssertionError(f"{output} was made again")

    _measure(world, tmp_path / "work", refuse, shuffled=True)


def test_a_clip_that_cannot_be_made_is_listed_with_its_reason(world: Any, tmp_path: Path) -> None:
    path = world.film("blank", [0.5] * N, hidden=range(N))
    (pair,) = pairs_of(
        own_speech([SourceClip(path, "s", "blank")]), tmp_path, shuffled=False, real=False, own_offset=0.0
    )
    still = partial(still_video, detector=world.faces, finder=world.faces)
    (outcome,) = measure_pairs([pair], lambda: Instruments(world.faces, world.faces, make=still))
    assert isinstance(outcome, LeftOut)
    assert "no frame of it has a face" in outcome.reason
    with pytest.raises(FaceError):
        still(path, path, tmp_path / "out.mp4")


def test_one_clip_cannot_be_shuffled(world: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two clips"):
        pairs_of(own_speech(_clips(world, 1)), tmp_path, shuffled=True, real=False, own_offset=0.0)


def test_unpaired_lists_measure_the_words_and_no_pictures(world: Any, tmp_path: Path) -> None:
    clips = _clips(world)
    (tmp_path / "list.txt").write_text("s0/clip s1/clip\n\ns0/clip s7/absent\n")
    cases, left_out = read_unpaired(tmp_path / "list.txt", world.folder / "corpus")
    assert [(case.speech.path, case.picture.path) for case in cases] == [(clips[0].path, clips[1].path)]
    assert left_out == [LeftOut("00003", f"{world.folder / 'corpus'} has no s7/absent")]
    pairs = pairs_of(cases, tmp_path / "work", shuffled=False, real=False, own_offset=0.0)

    def perfect_dub(video: Path, speech: Path, output: Path) -> None:
        assert (video, speech) == (clips[1].path, clips[0].path)
        output.write_bytes(speech.read_bytes())

    instruments = Instruments(world.faces, world.faces, world.scorer, make=perfect_dub)
    (outcome,) = measure_pairs(pairs, lambda: instruments)
    assert isinstance(outcome, ClipResult)
    assert outcome.figures["opening_correlation"] == pytest.approx(1.0)
    assert outcome.figures["offset"] == 0
    assert "psnr" not in outcome.figures
    assert "unpaired" in outcome.left_out["pictures"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("one two three\n", "line 1"),
        ("no/such clip/here\n", "none of its 1 pairs"),
        ("", "none of its 0 pairs"),
    ],
)
def test_a_wrong_unpaired_list_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        read_unpaired(tmp_path / "list.txt", tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        read_unpaired(tmp_path / "absent.txt", tmp_path)


def test_a_part_of_a_video_is_cut_in_time_and_in_the_picture(world: Any, tmp_path: Path) -> None:
    sound = np.concatenate([np.zeros(16000), np.full(22400, 0.4)]).astype(np.float32)
    video = world.film("whole", np.linspace(0, 1, N), sound=sound)
    clip = SourceClip(video, "s", "part", 0.6, 1.8, Box(0.25, 0.125, 1.0, 0.875))
    cut_part(clip, tmp_path / "part.mp4")
    info = probe_video(tmp_path / "part.mp4")
    assert (info.width, info.height) == (96, 96)
    frames = list(VideoReader(tmp_path / "part.mp4"))
    assert len(frames) == 30
    assert frames[0].time == 0.0
    whole = next(frame.image for frame in VideoReader(video) if frame.index == 15)[16:112, 32:128]
    assert np.abs(frames[0].image.astype(int) - whole.astype(int)).mean() < 3
    samples = np.abs(load_waveform(tmp_path / "part.mp4").samples)
    assert samples[: round(0.38 * 16000)].max() < 0.05  # the sound begins 0.4 s into the part
    assert np.median(samples[round(0.42 * 16000) : round(1.1 * 16000)]) == pytest.approx(0.4, abs=0.1)


def test_a_part_outside_of_its_video_is_told(world: Any, tmp_path: Path) -> None:
    video = world.film("whole", [0.5] * N, sound=world.sound_of(world.loudness(N)))
    with pytest.raises(MediaError, match="ends before 9 s"):
        cut_part(SourceClip(video, "s", "part", 9.0, 12.0), tmp_path / "late.mp4")
    with pytest.raises(MediaError, match="outside of its picture"):
        cut_part(SourceClip(video, "s", "part", 0.0, 1.0, Box(5, 0, 5, 0)), tmp_path / "aside.mp4")
    assert not list(tmp_path.glob("*.mp4")) or {p.name for p in tmp_path.glob("*.mp4")} == {"whole.mp4"}


def test_parts_are_cut_before_they_are_measured(world: Any, tmp_path: Path) -> None:
    levels = world.loudness(N)
    video = world.film("long", levels, sound=world.sound_of(levels))
    clips = [SourceClip(video, "talk", "talk_0", 0.0, 1.0), SourceClip(video, "talk", "talk_1", 1.2, 2.2)]
    pairs = pairs_of(own_speech(clips), tmp_path / "work", shuffled=False, real=True, own_offset=0.0)
    outcomes = list(measure_pairs(pairs, lambda: Instruments(world.faces, world.faces)))
    assert [outcome.n_frames for outcome in outcomes if isinstance(outcome, ClipResult)] == [25, 25]


def test_another_methods_videos_are_found_by_name_or_left_out(world: Any, tmp_path: Path) -> None:
    pairs = pairs_of(own_speech(_clips(world)), tmp_path, shuffled=False, real=True, own_offset=0.0)
    world.film("other/s0/clip", [0.5] * 5)
    others, left_out = with_other_videos(pairs[:1], world.folder / "other")
    assert [each.generated for each in others] == [world.folder / "other" / "s0" / "clip.mp4"]
    (world.folder / "other" / "s0" / "clip.mp4").rename(world.folder / "other" / "s0" / "else.mp4")
    others, left_out = with_other_videos(pairs[:1], world.folder / "other")
    assert not others
    assert "no video of the name s0/clip" in left_out[0].reason
