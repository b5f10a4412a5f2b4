from __future__ import annotations

import json
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from lipsync_cli.data.check import gather, look_at_clips
from lipsync_cli.data.check_plots import draw_plots
from lipsync_cli.data.check_report import as_json
from lipsync_cli.data.layout import CacheSettings, ClipFacts, clip_path, start_cache
from lipsync_cli.data.verdict import Verdict
from lipsync_cli.data.verdicts import is_useless, judge, n_usable
from lipsync_cli.errors import DataError
from lipsync_cli.speech.mel import silent_mel

FACTS = ClipFacts(rate=25.0, face_width=120.0, roll=2.0, offset=0, confidence=0.2)


@pytest.fixture
def corpus(draw_corpus, tmp_path):
    """Makes a cache of one clip each for as many speakers as there are facts."""

    def make(*facts: ClipFacts | None, **changed):
        drawn = draw_corpus(folder="other")
        drawn.folder = tmp_path / "cache"
        start_cache(drawn.folder, CacheSettings(image_size=32, crop_centre="features"))
        for index, one in enumerate(facts):
            drawn.add(f"s{index}", "clip", 60, one, **changed)
        return drawn

    return make


def check(drawn, *kept_out):
    n_clips, clips = look_at_clips(drawn.folder)
    figures = list(clips)
    assert len(figures) == n_clips
    return gather(drawn.folder, figures, kept_out)


def verdicts(found) -> dict[str, Verdict]:
    return {one.topic: one for one in judge(found)}


def log(drawn, **values) -> None:
    line = {"path": "/films/x.mp4", "frames": 60, "left_out": "", "size": 1, "modified": 1, **values}
    with (drawn.folder / "log.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def test_a_good_cache_is_ok_in_all_but_its_size(corpus):
    found = check(corpus(*[FACTS] * 20))
    by_level = {one.topic: one.level for one in judge(found)}
    assert {topic for topic, level in by_level.items() if level != "ok"} == {"clips"}
    assert n_usable(found) == 20
    assert not is_useless(found)
    assert "20 of 20 clips are usable, 0.01 hours" in verdicts(found)["clips"].found


@pytest.mark.parametrize(
    ("facts", "topic", "level", "says"),
    [
        (replace(FACTS, offset=3), "offsets", "problem", "4 of 20 clips with a certain offset are off"),
        (replace(FACTS, offset=-2, corrected=True), "offsets", "ok", "0 of 20 clips .* 4 were corrected"),
        (replace(FACTS, offset=9, confidence=0.03), "offsets", "ok", "0 of 16 clips with a certain offset"),
        (replace(FACTS, offset=1), "offsets", "ok", "0 of 20"),
        (
            replace(FACTS, confidence=0.05),
            "confidence",
            "ok",
            r"of 4 of 20 clips \(20.0 %\) the offset is unc",
        ),
        (replace(FACTS, rate=15.0), "fps", "warning", r"15.00 to 25.00, median 25.00; 4 of 20 clips \(20"),
        (replace(FACTS, rate=24000 / 1001), "fps", "ok", "0 of 20"),
        (replace(FACTS, face_width=15.0), "face size", "warning", "4 of 20 .* are enlarged more than twice"),
        (replace(FACTS, roll=-80.0), "tilt", "warning", "in 4 of 20 clips"),
        (replace(FACTS, roll=None), "tilt", "ok", "in 0 of 16 clips"),
    ],
)
def test_facts_of_the_preparation_are_judged(corpus, facts, topic, level, says):
    found = verdicts(check(corpus(*[facts] * 4, *[FACTS] * 16)))[topic]
    assert found.level == level
    assert re.search(says, found.found)
    assert bool(found.advice) == (level != "ok")


def test_what_was_not_noted_is_not_invented(corpus):
    found = check(corpus(None, None))
    topics = {one.topic for one in judge(found) if one.level == "not measured"}
    assert topics == {"offsets", "confidence", "fps", "tilt", "face size"}
    assert "prepare it again with --offsets correct" in str(verdicts(found)["offsets"])
    values = as_json(found, judge(found))
    assert values["figures"]["offset"] is None
    assert values["figures"]["silence"]["n"] == 2
    assert "offset.png" not in draw_plots(found)


def test_facts_stand_in_the_log_where_the_clip_has_none(corpus):
    drawn = corpus(None, None)
    log(
        drawn,
        speaker="s0",
        name="clip",
        facts={"rate": 50.0, "face_width": 9.0, "offset": 4, "confidence": 0.3},
    )
    log(drawn)  # of an old version: whose clip it was is not known
    found = check(drawn)
    assert [clip.facts and clip.facts.rate for clip in found.clips] == [50.0, None]
    assert [clip.trouble for clip in found.clips] == ["out of sync", ""]


def test_clips_that_were_left_out_are_counted_once_with_the_commonest_reason(corpus):
    drawn = corpus(FACTS)
    for name in "abc":
        reason = f"/films/{name}.mp4: {ord(name)} of 99 frames have a face, no second in a row"
        log(drawn, path=f"/films/{name}.mp4", left_out=reason)
    log(drawn, path="/films/a.mp4", left_out="/films/a.mp4: has no sound")  # tried again
    log(drawn, path="/films/b.mp4")
    one = verdicts(check(drawn))["left out"]
    assert one.level == "problem"
    assert "2 of 3 clips (66.7 %) were left out" in one.found
    assert "1 of them by 'has no sound'" in one.found


def test_silence_and_mouths_that_stand_still_are_told_apart(corpus):
    drawn = corpus(*[FACTS] * 3)
    drawn.add("q", "quiet", 60, FACTS, mel=silent_mel(192))
    drawn.add("m", "masked", 60, FACTS, openings=np.full(60, 0.01, np.float32))
    found = check(drawn)
    assert {clip.name: clip.trouble for clip in found.clips if clip.trouble} == {
        "quiet": "silent",
        "masked": "mouth hardly moves",
    }
    assert "(wholly: q/quiet)" in verdicts(found)["silence"].found
    assert "in 1 of 5 clips (20.0 %)" in verdicts(found)["movement"].found
    assert "(m/masked)" in verdicts(found)["movement"].found


def test_heads_that_are_turned_away_are_counted(corpus):
    found = check(corpus(FACTS, FACTS, yaws=np.full(60, -60, np.float32)))
    assert verdicts(found)["turn"].level == "problem"
    assert "in 2 of 2 clips" in verdicts(found)["turn"].found


def test_the_same_clip_under_two_speakers_is_a_problem(corpus):
    drawn = corpus(*[FACTS] * 4)
    one = clip_path(drawn.folder, "s0", "clip")
    one.with_name("again.safetensors").write_bytes(one.read_bytes())
    found = check(drawn)
    assert verdicts(found)["duplicates"].level == "warning"
    assert "1 copies of other clips" in verdicts(found)["duplicates"].found
    clip_path(drawn.folder, "s3", "stolen").write_bytes(one.read_bytes())
    found = check(drawn)
    assert verdicts(found)["duplicates"].level == "problem"
    assert "1 times under two speakers" in verdicts(found)["duplicates"].found
    assert as_json(found, [])["copies"] == [["s0/again", "s0/clip", "s3/stolen"]]


def test_damaged_clips_are_named_and_the_rest_is_judged(corpus):
    drawn = corpus(FACTS, FACTS)
    damaged = clip_path(drawn.folder, "s1", "clip")
    damaged.write_bytes(damaged.read_bytes()[:500])
    found = check(drawn)
    assert "1 of 2 clips (50.0 %) cannot be read" in verdicts(found)["damage"].found
    assert str(damaged) in verdicts(found)["damage"].found
    assert n_usable(found) == 1
    values = as_json(found, judge(found))
    assert "damaged clip" in values["not_usable"]["s1/clip"]
    assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_a_cache_of_damaged_clips_alone_is_useless_and_still_judged(corpus):
    drawn = corpus(FACTS)
    clip_path(drawn.folder, "s0", "clip").write_bytes(b"no clip")
    found = check(drawn)
    assert is_useless(found)
    assert verdicts(found)["clips"].level == "problem"
    assert set(draw_plots(found)) == {"speakers.png", "overview.png"}


def test_speakers_are_weighed(corpus):
    drawn = corpus(FACTS)
    assert verdicts(check(drawn))["speakers"].advice.startswith("nobody can be kept out")
    drawn = corpus(*[FACTS] * 19)
    assert "learnt by heart" in verdicts(check(drawn))["speakers"].advice
    drawn = corpus(*[FACTS] * 25)
    for index in range(12):
        drawn.add("s0", f"more{index}", 60, FACTS)
    one = verdicts(check(drawn))["speakers"]
    assert one.found == "25, the largest (s0) with 13 of 37 clips (35.1 %)"
    assert "corpus.balance" in one.advice


def test_speakers_that_are_also_in_a_list_for_validation_are_a_problem(corpus, tmp_path):
    drawn = corpus(FACTS, FACTS, FACTS)
    drawn.add("s0", "other", 60, FACTS)
    held = tmp_path / "val.txt"
    held.write_text("s0/clip NF\nmain/s1/clip\nelsewhere/clip\n")
    one = verdicts(check(drawn, held))["split"]
    assert one.level == "problem"
    assert f"1 of 3 speakers are in {held} too (s0)" in one.found

    held.write_text("s1/clip\ns2\n")  # all clips of theirs
    one = verdicts(check(drawn, held))["split"]
    assert (one.level, one.found) == ("ok", f"all clips of 2 speakers are on the list {held}")
    assert "corpus.validation_speakers: s1, s2" in one.advice

    held.write_text("z/clip\n")
    assert "no speaker is in" in verdicts(check(drawn, held))["split"].found
    assert "split" not in verdicts(check(drawn))


def test_speakers_that_are_also_in_another_cache_are_a_problem(corpus, draw_corpus):
    drawn = corpus(FACTS, FACTS)
    other = draw_corpus(folder="validation")
    assert verdicts(check(drawn, other.folder))["split"].level == "ok"
    drawn.add("a", "clip", 60, FACTS)
    assert verdicts(check(drawn, other.folder))["split"].level == "problem"


def test_every_figure_is_drawn(corpus):
    found = check(corpus(*[replace(FACTS, offset=index - 5) for index in range(10)]))
    plots = draw_plots(found)
    assert set(plots) == {
        *(f"{name}.png" for name in ("offset", "offset_before", "confidence", "silence", "movement", "rate")),
        *(f"{name}.png" for name in ("yaw", "roll", "face_width", "seconds", "speakers", "overview")),
    }
    for picture in plots.values():
        shown = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        assert min(shown.shape[:2]) > 300
        assert shown.std() > 5


def test_a_log_of_something_else_is_named(corpus):
    drawn = corpus(FACTS)
    (drawn.folder / "log.jsonl").write_text('{"path": 3}\n')
    with pytest.raises(DataError, match=r"log\.jsonl, line 1: is no line of"):
        look_at_clips(drawn.folder)


def test_a_cache_that_no_training_would_take_is_a_problem(corpus):
    drawn = corpus(FACTS)
    file = drawn.folder / "cache.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"mel_hop": 160}))
    one = verdicts(check(drawn))["settings"]
    assert (one.level, one.found) == ("problem", "made with mel_hop 160 (here 200)")
