from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.assembly_preparation import preparation_tools
from lipsync_cli.data.corpora.choose import list_corpus
from lipsync_cli.data.corpora.source import SourceClip
from lipsync_cli.data.cut import Tools, prepare_source
from lipsync_cli.data.layout import CacheSettings
from lipsync_cli.errors import DataError
from lipsync_cli.interfaces import Box


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def names(clips: list[SourceClip]) -> list[tuple[str, str]]:
    return [(clip.speaker, clip.name) for clip in clips]


@pytest.fixture
def lrs2(tmp_path: Path) -> Path:
    root = touch(
        tmp_path / "lrs2",
        "mvlrs_v1/main/5535415699068794046/00001.mp4",
        "mvlrs_v1/main/5535415699068794046/00002.mp4",
        "mvlrs_v1/main/6330311066473698535/00011.mp4",
        "mvlrs_v1/pretrain/6000000000000000000/00001.mp4",
    )
    (root / "train.txt").write_text("5535415699068794046/00001\n")
    (root / "test.txt").write_text("6330311066473698535/00011 MV\n5535415699068794046/00009 NF\n")
    (root / "pretrain.txt").write_text("6000000000000000000/00001\n")
    return root


def test_lrs2_by_its_lists(lrs2: Path) -> None:
    assert names(list_corpus("lrs2", lrs2, "train")) == [("5535415699068794046", "main_00001")]
    assert names(list_corpus("lrs2", lrs2, "pretrain")) == [("6000000000000000000", "pretrain_00001")]
    # what the list names and the folder has not is passed over
    assert names(list_corpus("lrs2", lrs2, "test")) == [("6330311066473698535", "main_00011")]
    assert len(list_corpus("lrs2", lrs2 / "mvlrs_v1", None)) == 3


def test_lrs2_without_its_list_says_where_it_belongs(lrs2: Path) -> None:
    with pytest.raises(DataError, match=r"no list of the split 'val' \(val\.txt"):
        list_corpus("lrs2", lrs2, "val")
    (lrs2 / "odd.txt").write_text("one/two/three/four\n")
    with pytest.raises(DataError, match="is no clip of LRS2"):
        list_corpus("lrs2", lrs2, str(lrs2 / "odd.txt"))


def test_lrw_by_its_folders(tmp_path: Path) -> None:
    root = touch(
        tmp_path / "lrw",
        "lipread_mp4/ABOUT/train/ABOUT_00001.mp4",
        "lipread_mp4/ABOUT/test/ABOUT_00001.mp4",
        "lipread_mp4/WORLD/train/WORLD_00007.mp4",
    )
    assert names(list_corpus("lrw", root, "train")) == [
        ("ABOUT", "train_ABOUT_00001"),
        ("WORLD", "train_WORLD_00007"),
    ]
    assert len(list_corpus("lrw", root)) == 3
    own = tmp_path / "own.txt"
    own.write_text("WORLD_00007\n")
    assert names(list_corpus("lrw", root, str(own))) == [("WORLD", "train_WORLD_00007")]
    with pytest.raises(DataError, match="LRW has no split 'dev'"):
        list_corpus("lrw", root, "dev")


def test_grid_as_it_unpacks_and_flatter(tmp_path: Path) -> None:
    root = touch(
        tmp_path / "grid",
        "s1/video/mpg_6000/bbaf2n.mpg",
        "s1/video/mpg_vcd/bbaf2n.mpg",
        "s2/pwij3p.mp4",
        "s1/align/bbaf2n.align",
    )
    clips = list_corpus("grid", root)
    assert names(clips) == [("s1", "bbaf2n"), ("s2", "pwij3p")]
    assert clips[0].path.parent.name == "mpg_6000"
    (root / "test.txt").write_text("s2\n")
    assert names(list_corpus("grid", root, "test")) == [("s2", "pwij3p")]
    (tmp_path / "clips.txt").write_text("s1/bbaf2n\n")
    assert names(list_corpus("grid", root, str(tmp_path / "clips.txt"))) == [("s1", "bbaf2n")]
    (tmp_path / "nobody.txt").write_text("s99\n")
    with pytest.raises(DataError, match="none of its 0 clips is there"):
        list_corpus("grid", root, str(tmp_path / "nobody.txt"))


def test_the_usual_split_of_grid_needs_no_list(tmp_path: Path) -> None:
    root = touch(tmp_path / "grid", "s1/a.mpg", "s2/b.mpg", "s20/c.mpg", "s22/d.mpg", "s23/e.mpg", "s3/f.mpg")
    assert names(list_corpus("grid", root, "test")) == [("s1", "a"), ("s2", "b"), ("s20", "c"), ("s22", "d")]
    assert names(list_corpus("grid", root, "train")) == [("s23", "e"), ("s3", "f")]
    assert names(list_corpus("grid", root, "s3,s20")) == [("s20", "c"), ("s3", "f")]
    for unknown in ("dev", "s3,s99"):
        with pytest.raises(DataError, match=r"no speaker is called '(dev|s99)': .* test \(these four\)"):
            list_corpus("grid", root, unknown)
    (tmp_path / "test.txt").write_text("s3\n")  # a list of one's own goes first
    assert names(list_corpus("grid", root, "test")) == [("s3", "f")]
    with pytest.raises(DataError, match="has no speaker of the split 'test'"):
        list_corpus("grid", touch(tmp_path / "few" / "grid", "s3/f.mpg"), "test")


@pytest.fixture
def hdtf(tmp_path: Path) -> Path:
    root = touch(tmp_path / "hdtf", "videos/RD_Radio11.mp4", "videos/WDA_Bob_000.mp4")
    (root / "RD_video_url.txt").write_text("RD_Radio11 http://nowhere\nRD_Gone http://nowhere\n")
    (root / "RD_annotion_time.txt").write_text(
        "RD_Radio11.mp4 00:30-01:00 01:30-1:02:30.5\nRD_Gone.mp4 0:01-0:09\n"
    )
    (root / "RD_crop_wh.txt").write_text("RD_Radio11_0.mp4 608 726 0 540\n")
    (root / "RD_resolution.txt").write_text("RD_Radio11.mp4 1080\n")
    (root / "WDA_annotion_time.txt").write_text("WDA_Bob_000.mp4 00:00-00:10\n")
    return root


def test_hdtf_annotations_are_applied_to_the_videos_that_are_there(hdtf: Path) -> None:
    clips = list_corpus("hdtf", hdtf)
    assert names(clips) == [
        ("RD_Radio11", "RD_Radio11_0"),
        ("RD_Radio11", "RD_Radio11_1"),
        ("WDA_Bob_000", "WDA_Bob_000_0"),
    ]
    assert [(clip.start, clip.end) for clip in clips] == [(30, 60), (90, 3750.5), (0, 10)]
    # x, width, y, height in a picture of 1080 lines
    assert clips[0].region == Box(608 / 1080, 0, (608 + 726) / 1080, 0.5)
    assert clips[1].region is None
    assert len(list_corpus("hdtf", hdtf, "WDA")) == 1


def test_hdtf_says_what_is_missing(hdtf: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has none of HDTF's annotation files"):
        list_corpus("hdtf", tmp_path)
    (hdtf / "RD_annotion_time.txt").write_text("RD_Radio11.mp4 soon\n")
    with pytest.raises(DataError, match="'soon' is no span of time"):
        list_corpus("hdtf", hdtf)
    for video in hdtf.rglob("*.mp4"):
        video.unlink()
    with pytest.raises(DataError, match="no video of HDTF's lists is there"):
        list_corpus("hdtf", hdtf, "WDA")


def test_any_folder_by_a_list(tmp_path: Path) -> None:
    root = touch(tmp_path / "any", "ann/one.mp4", "ann/two.mp4", "bob/one.mp4")
    (tmp_path / "some.txt").write_text("ann/two.mp4\n\nbob\n")
    assert names(list_corpus("folder", root, str(tmp_path / "some.txt"))) == [("ann", "two"), ("bob", "one")]


@pytest.mark.parametrize("corpus", ["lrs2", "lrw", "grid"])
def test_a_folder_that_is_not_the_corpus_is_refused(tmp_path: Path, corpus: str) -> None:
    with pytest.raises(DataError, match=r"is not|is no"):
        list_corpus(corpus, tmp_path)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tools() -> Tools:
    return preparation_tools()


def test_a_stretch_and_a_region_of_a_video_become_a_clip(filmer, tools, tmp_path: Path) -> None:
    film = filmer.film(tmp_path / "long.mp4", 60)
    part = SourceClip(film, "a", "a_0", start=0.4, end=1.6, region=Box(0, 0, 1, 1))
    clip, facts = prepare_source(part, tools, CacheSettings(image_size=32))
    assert len(clip.openings) == 30
    assert facts.rate == 25
    assert facts.face_width > 30
    whole, _ = prepare_source(SourceClip(film, "a", "a"), tools, CacheSettings(image_size=32))
    assert np.abs(clip.mel[:, 8:60] - whole.mel[:, 32 + 8 : 32 + 60]).max() < 0.5  # 0.4 s are 32 columns
    nowhere = SourceClip(film, "a", "a_0", region=Box(3, 3, 4, 4))
    with pytest.raises(DataError, match="outside of the picture"):
        prepare_source(nowhere, tools, CacheSettings(image_size=32))


def measured(tools: Tools, offset: int, confidence: float) -> Tools:
    return Tools(tools.detector, tools.finder, tools.speech_steps, lambda clip: (offset, confidence))


@pytest.mark.parametrize("offset", [3, -4])
def test_the_sound_is_moved_by_an_offset_that_is_certain(filmer, tools, tmp_path: Path, offset: int) -> None:
    source = SourceClip(filmer.film(tmp_path / "film.mp4", 60), "a", "a")
    settings = CacheSettings(image_size=32, offsets="correct")
    plain, _ = prepare_source(source, tools, settings)
    moved, facts = prepare_source(source, measured(tools, offset, 0.3), settings)
    assert (facts.offset, facts.confidence, facts.corrected) == (offset, 0.3, True)
    n = len(plain.openings) - abs(offset)
    assert len(moved.openings) == n
    first = max(-offset, 0)
    assert np.array_equal(moved.crops, plain.crops[first : first + n])
    # picture i of the moved clip goes with the sound that was at picture i + first + offset
    begin = round((first + offset) / 25 * 80)
    columns = slice(8, 60)
    shifted = plain.mel[:, begin + 8 : begin + 60]
    assert np.corrcoef(moved.mel[:, columns].ravel(), shifted.ravel())[0, 1] > 0.95


@pytest.mark.parametrize(
    ("offset", "confidence", "offsets"), [(3, 0.02, "correct"), (0, 0.3, "correct"), (3, 0.3, "measure")]
)
def test_an_uncertain_offset_is_noted_and_left_alone(
    filmer, tools, tmp_path: Path, offset: int, confidence: float, offsets: str
) -> None:
    source = SourceClip(filmer.film(tmp_path / "film.mp4", 55), "a", "a")
    settings = CacheSettings(image_size=32, offsets=offsets)  # type: ignore[arg-type]
    clip, facts = prepare_source(source, measured(tools, offset, confidence), settings)
    assert (facts.offset, facts.corrected) == (offset, False)
    assert len(clip.openings) >= 54


def test_a_clip_whose_sound_belongs_to_something_else_is_left_out(filmer, tools, tmp_path: Path) -> None:
    source = SourceClip(filmer.film(tmp_path / "film.mp4", 55), "a", "a")
    with pytest.raises(DataError, match="14 frames apart"):
        prepare_source(source, measured(tools, 14, 0.3), CacheSettings(image_size=32, offsets="correct"))


def test_too_short_a_clip_is_not_measured(filmer, tools, tmp_path: Path) -> None:
    source = SourceClip(filmer.film(tmp_path / "film.mp4", 30), "a", "a")
    settings = CacheSettings(image_size=32, offsets="correct")
    assert prepare_source(source, measured(tools, 14, 0.3), settings)[1].offset is None


@pytest.mark.shared
def test_the_known_offset_of_a_real_clip_is_found(shared_folder: Path, weights_folder: Path) -> None:
    tools = preparation_tools(str(weights_folder / "avsyncnet.safetensors"))
    settings = CacheSettings(offsets="measure")
    source = SourceClip(shared_folder / "data" / "clips" / "rd_radio34.mp4", "a", "a")
    _, facts = prepare_source(source, tools, settings)
    assert facts.offset is not None
    assert abs(facts.offset + 2) <= 1
