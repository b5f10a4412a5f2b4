from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.assembly_preparation import preparation_tools
from lipsync_cli.data import cut
from lipsync_cli.data.cut import Tools, prepare_clip
from lipsync_cli.data.layout import CacheSettings
from lipsync_cli.errors import DataError, MediaError
from lipsync_cli.faces.landmarks import SCHEMES

FACE, NOTHING, CUT = (False, True), (False, False), (True, True)
"""(starts a shot, has a face)"""


@pytest.fixture(scope="module")
def tools() -> Tools:
    return preparation_tools()


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([CUT, FACE, FACE], slice(0, 3)),
        ([CUT, FACE, NOTHING, FACE, FACE, FACE], slice(3, 6)),
        ([CUT, FACE, FACE, CUT, FACE], slice(0, 3)),  # never across a cut
        ([CUT, FACE, CUT, FACE, FACE], slice(2, 5)),
        ([NOTHING, NOTHING], slice(0, 0)),
        ([(True, False), FACE, NOTHING], slice(1, 2)),
        ([CUT, FACE, NOTHING, FACE, FACE], slice(0, 2)),  # the first of two as long
    ],
)
def test_the_longest_run_of_one_face_is_taken(frames, expected):
    assert cut._longest_run(frames) == expected


@pytest.mark.parametrize(("start", "end", "n"), [(0, 1.2, 30), (0, 1.199, 29), (0.4, 1.0, 15), (1, 0.5, 0)])
def test_the_grid_has_all_whole_steps_of_25_fps(start, end, n):
    grid = cut._grid(start, end)
    assert len(grid) == n
    assert np.allclose(grid, start + np.arange(n) * 0.04)


@pytest.mark.parametrize("rate", [25, 50])
def test_a_film_becomes_crops_at_25_fps_with_what_is_heard(filmer, tools, tmp_path, rate):
    film = filmer.film(tmp_path / "film.mp4", 30 * rate // 25, rate=rate)
    clip = prepare_clip(film, tools, CacheSettings(image_size=64))
    n = len(clip.openings)
    assert 29 <= n <= 30
    assert clip.crops.shape == (n, 64, 64, 3)
    assert clip.landmarks.shape == (n, 468, 2)
    assert clip.yaws.shape == (n,)
    assert clip.speech.shape == (n + 9, 384)
    assert 80 * n / 25 <= clip.mel.shape[1] < 80 * 1.2 + 10  # the encoder rounds the sound up to whole blocks
    assert 100 * n / 25 - 5 <= len(clip.log_mel) < 100 * 1.2 + 10
    assert clip.mel.max() > 0  # she is heard


def test_lips_lie_in_the_lower_half_of_their_crop(filmer, tools, tmp_path):
    clip = prepare_clip(filmer.film(tmp_path / "film.mp4"), tools, CacheSettings(image_size=64))
    lips = clip.landmarks[:, list(SCHEMES["mesh468"].lips)]
    assert (lips[..., 1] > 30).all()
    assert (lips[..., 1] < 64).all()
    assert abs(lips[..., 0].mean() - 31.5) < 5
    assert 0 < clip.openings.min() <= clip.openings.max() < 0.15


def test_crops_of_a_moving_camera_hold_still(filmer, tools, tmp_path):
    clip = prepare_clip(filmer.film(tmp_path / "film.mp4"), tools, CacheSettings(image_size=64))
    noses = clip.landmarks[:, SCHEMES["mesh468"].nose_tip]
    assert np.ptp(noses, axis=0).max() < 4


def test_a_film_without_a_face_is_left_out(filmer, tools, tmp_path):
    film = filmer.film(tmp_path / "grey.mp4", face=False)
    with pytest.raises(DataError, match=r"grey\.mp4: 0 of 30 frames have a face"):
        prepare_clip(film, tools, CacheSettings())


def test_a_film_shorter_than_a_second_is_left_out(filmer, tools, tmp_path):
    film = filmer.film(tmp_path / "short.mp4", 20)
    with pytest.raises(DataError, match=r"short\.mp4: 20 of 20 frames have a face, no second in a row"):
        prepare_clip(film, tools, CacheSettings())


def test_a_film_without_sound_is_left_out(filmer, tools, tmp_path):
    film = filmer.film(tmp_path / "mute.mp4", sound=False)
    with pytest.raises(MediaError, match=r"mute\.mp4: has no sound"):
        prepare_clip(film, tools, CacheSettings())


def test_a_text_that_is_called_a_film_is_left_out(tools, tmp_path):
    path = Path(tmp_path / "text.mp4")
    path.write_text("not a film, but a text of more than a few words\n" * 20)
    with pytest.raises(MediaError, match=r"text\.mp4"):
        prepare_clip(path, tools, CacheSettings())


def test_crops_are_centred_on_eyes_and_nose(filmer, tools, tmp_path):
    """As those of a dub: whatever a face turns away, its features lie around the middle."""
    clip = prepare_clip(filmer.film(tmp_path / "film.mp4", 30), tools, CacheSettings(image_size=96))
    scheme = SCHEMES["mesh468"]
    eyes = [clip.landmarks[:, list(ring)].mean(axis=1)[:, 0] for ring in (scheme.eye_left, scheme.eye_right)]
    middle = (eyes[0] + eyes[1] + clip.landmarks[:, scheme.nose_tip, 0]) / 3
    assert np.abs(middle - 47.5).max() < 1.5
    face = clip.landmarks[:, list(scheme.sides), 0].mean(axis=1)
    assert np.abs(face - 47.5).mean() > np.abs(middle - 47.5).mean(), "she looks a little to the side"
