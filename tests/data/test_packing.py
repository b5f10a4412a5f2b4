from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from lipsync_cli.assembly_preparation import preparation_tools
from lipsync_cli.data import layout
from lipsync_cli.data.augment import PictureAugmentation, VoiceAugmentation
from lipsync_cli.data.clip_bytes import ClipBytes
from lipsync_cli.data.corpora.folder import list_clips
from lipsync_cli.data.corpus import Corpus, CorpusSettings, step_rng
from lipsync_cli.data.face_samples import FaceSampling, draw_face_batch
from lipsync_cli.data.layout import CacheSettings, ClipFacts, clip_path, loose_clips, open_cache
from lipsync_cli.data.packing import Packer, locked, pack, packed_clips, tidy
from lipsync_cli.data.prepare import prepare
from lipsync_cli.data.shards import open_shards, write_shard
from lipsync_cli.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
KILOBYTE = 1000


def contents(cache: Path) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """All that training can read, in the order in which it comes."""
    return {
        (clip.speaker, clip.name): {
            **{name: clip.read(name) for name in layout.ClipArrays.__dataclass_fields__},
            "some": clip.crops([3, 1, 3]),
            "n": np.array(clip.n_frames),
        }
        for clip in open_cache(cache)[1]
    }


def same(one, other) -> bool:
    return list(one) == list(other) and all(
        np.array_equal(one[clip][name], other[clip][name])
        and one[clip][name].dtype == other[clip][name].dtype
        for clip in one
        for name in one[clip]
    )


def shards(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((cache / "shards").iterdir())}


def test_what_training_reads_is_the_same_from_shards(draw_corpus):
    drawn = draw_corpus(image_size=64)
    facts = ClipFacts(rate=29.97, face_width=80.0, offset=2, confidence=0.3)
    drawn.add("b", "clip-1", 40, facts)  # files and names sort differently
    drawn.add("b", "clip", 35)
    before = contents(drawn.folder)

    def batch():
        corpus = Corpus(open_cache(drawn.folder)[1], CorpusSettings())
        return draw_face_batch(
            corpus, step_rng(1, 2), FaceSampling(), picture=PictureAugmentation(), voice=VoiceAugmentation()
        )

    drawn_before = batch()
    assert list(pack(drawn.folder, 1500 * KILOBYTE)) == [3, 3, 3, 1]
    assert loose_clips(drawn.folder) == []
    assert not list((drawn.folder / "clips").iterdir())
    after = contents(drawn.folder)
    assert same(before, after)
    assert all(clip.is_packed for clip in open_cache(drawn.folder)[1])
    drawn_after = batch()
    for name in ("targets", "references", "log_mel", "lips", "reference_lips"):
        assert bool((getattr(drawn_before, name) == getattr(drawn_after, name)).all())
    noted = {clip.name: clip.facts for clip in open_cache(drawn.folder)[1] if clip.speaker == "b"}
    assert noted == {"clip0": None, "clip1": None, "clip-1": facts, "clip": None}


def test_clips_packed_and_not_are_read_side_by_side(draw_corpus):
    drawn = draw_corpus()
    list(pack(drawn.folder, 10 * KILOBYTE))
    drawn.add("aa", "younger")
    names = [(clip.speaker, clip.name, clip.is_packed) for clip in open_cache(drawn.folder)[1]]
    assert ("aa", "younger", False) in names
    assert len(names) == 9
    assert names == sorted(names)
    assert list(pack(drawn.folder, 10 * KILOBYTE)) == [1]
    assert len(open_shards(drawn.folder)) == 9


def test_a_clip_reads_as_by_the_library_of_its_format(draw_corpus):
    clip = draw_corpus().add("z", "clip", facts=ClipFacts(rate=25.0, face_width=9.0))
    parsed = ClipBytes(np.fromfile(clip.path, np.uint8))
    with safe_open(clip.path, framework="np") as file:
        assert file.metadata() == parsed.metadata
        for name in file.keys():  # noqa: SIM118
            assert np.array_equal(file.get_tensor(name), parsed.array(name))
            assert file.get_tensor(name).dtype == parsed.array(name).dtype


@pytest.mark.parametrize("after_clips", [1, 4, 9])
def test_a_packing_that_is_killed_loses_nothing_and_goes_on_to_the_same_bytes(draw_corpus, after_clips):
    """By SIGKILL, when so many shards of one clip each are there."""
    drawn, undisturbed = draw_corpus(), draw_corpus(folder="undisturbed")
    for corpus in (drawn, undisturbed):
        for index in range(40):
            corpus.add("many", f"clip{index:02d}", 60)
    before = contents(drawn.folder)
    script = (
        "import sys; from pathlib import Path; from lipsync_cli.data.packing import pack\n"
        "print('ready', flush=True)\nsys.stdin.readline()\nlist(pack(Path(sys.argv[1]), 1))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(drawn.folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()
    folder = drawn.folder / "shards"
    while process.poll() is None and len(list(folder.glob("*.clips"))) < after_clips:
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert after_clips <= len(packed_clips(drawn.folder)) < 48
    assert same(contents(drawn.folder), before)

    list(pack(drawn.folder, 1))
    assert same(contents(drawn.folder), before)
    assert loose_clips(drawn.folder) == []
    list(pack(undisturbed.folder, 1))
    assert shards(drawn.folder) == shards(undisturbed.folder)


def test_a_clip_that_is_packed_and_still_there_counts_once(draw_corpus):
    """The moment between the two: the shard has its name, the files are not yet removed."""
    drawn = draw_corpus()
    before = contents(drawn.folder)
    write_shard(
        drawn.folder, [(*key, clip_path(drawn.folder, *key)) for key in loose_clips(drawn.folder)[:3]]
    )
    (drawn.folder / "shards" / ".00001.clips.part").write_bytes(b"half")
    assert len(loose_clips(drawn.folder)) == 8
    assert same(contents(drawn.folder), before)
    assert len(tidy(drawn.folder)) == 3
    assert len(loose_clips(drawn.folder)) == 5
    assert same(contents(drawn.folder), before)
    assert set(shards(drawn.folder)) == {"00000.clips"}


def test_shards_do_not_depend_on_the_order_in_which_clips_are_done(draw_corpus):
    first, second = draw_corpus(folder="first"), draw_corpus(folder="second")
    listed = [*reversed(loose_clips(first.folder)), ("left", "out")]
    sizes = []
    for drawn, order in ((first, listed), (second, sorted(listed))):
        packer = Packer(drawn.folder, listed, 300 * KILOBYTE)
        sizes.append([packer.settle(clip) for clip in order] + [packer.finish()])
    assert sum(sizes[0]) == sum(sizes[1]) == 8
    assert sizes[0] != sizes[1]
    assert shards(first.folder) == shards(second.folder)
    assert [place.speaker for place in open_shards(first.folder)[0].clips][:1] == ["e"]


def test_a_damaged_clip_is_never_packed(draw_corpus):
    drawn = draw_corpus()
    clip = clip_path(drawn.folder, "b", "clip0")
    clip.write_bytes(clip.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"clip0\.safetensors: damaged clip"):
        list(pack(drawn.folder, 10_000 * KILOBYTE))
    assert len(loose_clips(drawn.folder)) == 8
    assert shards(drawn.folder) == {}


def test_a_shard_that_cannot_be_written_leaves_the_clips_as_they_are(draw_corpus):
    drawn = draw_corpus()
    (drawn.folder / "shards").write_text("in the way")
    with pytest.raises(DataError, match=r"00000\.clips: cannot write the shard .*what is prepared is safe"):
        list(pack(drawn.folder, KILOBYTE))
    assert len(loose_clips(drawn.folder)) == 8


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_and_loses_nothing(draw_corpus):
    drawn = draw_corpus()
    (drawn.folder / "shards").mkdir()
    (drawn.folder / "shards" / ".00000.clips.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"cannot write the shard .No space left on device"):
        write_shard(drawn.folder, [("a", "clip0", clip_path(drawn.folder, "a", "clip0"))])
    assert len(open_cache(drawn.folder)[1]) == 8
    assert shards(drawn.folder) == {}


@pytest.mark.parametrize("damage", ["cut", "other", "empty"])
def test_a_damaged_shard_is_named(draw_corpus, damage):
    drawn = draw_corpus()
    list(pack(drawn.folder, 10_000 * KILOBYTE))
    path = drawn.folder / "shards" / "00000.clips"
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-100], "other": b"x" * 50 + whole[-8:], "empty": b""}[damage])
    with pytest.raises(
        DataError, match=r"00000\.clips: damaged shard .*: delete it and prepare its clips again"
    ):
        open_cache(drawn.folder)


def test_damage_inside_a_shard_names_the_clip(draw_corpus):
    drawn = draw_corpus()
    list(pack(drawn.folder, 10_000 * KILOBYTE))
    path = drawn.folder / "shards" / "00000.clips"
    start = open_shards(drawn.folder)[0].clips[2].start
    whole = path.read_bytes()
    path.write_bytes(whole[:start] + bytes(64) + whole[start + 64 :])
    clips = open_cache(drawn.folder)[1]
    with pytest.raises(
        DataError, match=r"00000\.clips: damaged clip a/clip2 .*prepare all of its clips again"
    ):
        clips[2].read("mel")
    assert clips[1].read("mel").shape == clips[3].read("mel").shape


def test_a_clip_that_was_packed_while_a_training_ran_says_so(draw_corpus):
    drawn = draw_corpus()
    clip = open_cache(drawn.folder)[1][0]
    list(pack(drawn.folder, KILOBYTE))
    with pytest.raises(DataError, match="is gone: if it was packed meanwhile, start again"):
        clip.read("mel")


def test_nobody_else_may_pack_or_prepare_meanwhile(draw_corpus):
    drawn = draw_corpus()
    with locked(drawn.folder):
        for work in (
            pack(drawn.folder, KILOBYTE),
            prepare(
                [],
                drawn.folder,
                preparation_tools,
                settings=CacheSettings(image_size=32, crop_centre="features"),
                workers=1,
            ),
        ):
            with pytest.raises(DataError, match="another lipsync prepares into it or packs it"):
                next(work)
    assert len(list(pack(drawn.folder, KILOBYTE))) == 8


def run(folder: Path, cache: Path, workers: int = 1):
    return prepare(
        list_clips(folder),
        cache,
        preparation_tools,
        settings=CacheSettings(image_size=32, crop_centre="features"),
        workers=workers,
        shard_bytes=400 * KILOBYTE,
    )


def test_a_preparation_that_is_stopped_goes_on_to_the_same_shards_and_redoes_nothing(filmer, tmp_path):
    folder = tmp_path / "films"
    for index, name in enumerate("abcde"):
        filmer.film(folder / name / "film.mp4", 27 + index, sound=name != "c")
    whole = list(run(folder, tmp_path / "whole", workers=2))
    assert [bool(one.reason) for one in sorted(whole, key=lambda one: one.source.speaker)] == [0, 0, 1, 0, 0]
    assert loose_clips(tmp_path / "whole") == []
    assert len(shards(tmp_path / "whole")) > 1

    cache = tmp_path / "stopped"
    for _ in range(4):
        outcomes = run(folder, cache)
        new = next((one for one in outcomes if one.n_frames), None)
        outcomes.close()
        assert new is not None
    assert [one.n_frames for one in run(folder, cache)] == [0] * 5
    assert shards(cache) == shards(tmp_path / "whole")
    lines = [json.loads(line) for line in (cache / "log.jsonl").read_text().splitlines()]
    assert sorted(line["speaker"] for line in lines) == list("abcde")

    filmer.film(folder / "f" / "film.mp4", 30)
    assert sum(one.n_frames > 0 for one in run(folder, cache)) == 1
    assert len(open_cache(cache)[1]) == 5
    assert {name: shards(cache)[name] for name in shards(tmp_path / "whole")} == shards(tmp_path / "whole")


def test_a_cache_of_an_older_version_goes_on_with_shards(draw_corpus, filmer, tmp_path):
    drawn = draw_corpus()
    before = contents(drawn.folder)
    filmer.film(tmp_path / "films" / "eileen" / "good.mp4")
    list(run(tmp_path / "films", drawn.folder))
    after = contents(drawn.folder)
    assert after.pop(("eileen", "good"))["n"] >= 29
    assert same(before, after)
    assert packed_clips(drawn.folder) == {("eileen", "good")}
