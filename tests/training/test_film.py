from __future__ import annotations

import numpy as np

from lipsync_cli.assembly_judging import write_film
from lipsync_cli.data.layout import open_cache
from lipsync_cli.media.audio import load_waveform
from lipsync_cli.media.reader import VideoReader


def test_films_show_real_and_generated_side_by_side_with_the_clips_sound(stages, tmp_path):
    stage = stages.build("gl")
    (film,) = stage.films()
    clip = open_cache(stages.cache)[1][-1]
    assert film.frames.shape == (30, 32, 64, 3)
    assert np.array_equal(film.frames[:, :, :32], clip.crops(list(range(30))))
    assert np.array_equal(film.mel, clip.read("mel")[:, :96])
    write_film(tmp_path / "film.mp4", film)
    frames = list(VideoReader(tmp_path / "film.mp4"))
    assert [frame.time for frame in frames] == [index / 25 for index in range(30)]
    sound = load_waveform(tmp_path / "film.mp4").samples
    assert np.abs(sound).max() > 0.1


def test_stages_without_faces_have_no_films(stages):
    assert stages.build("avsyncnet").films() == ()
