from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lipsync_cli.data.corpus import Corpus, CorpusSettings, step_rng
from lipsync_cli.data.layout import Clip
from lipsync_cli.errors import DataError, SettingsError


def clips(**counts: int) -> list[Clip]:
    return [Clip(Path(f"clips/{name}/{i}.safetensors")) for name, n in counts.items() for i in range(n)]


def drawn(corpus: Corpus, n: int = 2000) -> Counter[str]:
    rng = np.random.default_rng(0)
    return Counter(corpus.draw(rng).speaker for _ in range(n))


def test_speakers_kept_out_are_never_drawn():
    settings = CorpusSettings(validation_speakers=("b",), test_speakers=("c",))
    corpus = Corpus(clips(a=3, b=2, c=1, d=1), settings)
    assert {clip.speaker for clip in corpus.training} == {"a", "d"}
    assert [clip.speaker for clip in corpus.validation] == ["b", "b"]
    assert set(drawn(corpus)) == {"a", "d"}


@pytest.mark.parametrize(("balance", "expected"), [(1.0, 16 / 17), (0.0, 1 / 2), (0.5, 4 / 5)])
def test_speakers_are_drawn_by_a_power_of_their_clips(balance, expected):
    share = drawn(Corpus(clips(a=16, b=1), CorpusSettings(balance=balance)))["a"] / 2000
    assert share == pytest.approx(expected, abs=0.04)


def test_all_clips_of_a_speaker_are_drawn_alike():
    corpus = Corpus(clips(a=4), CorpusSettings())
    rng = np.random.default_rng(0)
    names = Counter(corpus.draw(rng).name for _ in range(2000))
    assert len(names) == 4
    assert min(names.values()) > 400


def test_draws_depend_on_seed_and_step_alone():
    corpus = Corpus(clips(a=50, b=50), CorpusSettings())
    paths = {(seed, step): corpus.draw(step_rng(seed, step)).path for seed in range(4) for step in range(4)}
    assert all(corpus.draw(step_rng(*key)).path == path for key, path in paths.items())
    assert len(set(paths.values())) > 8


def test_a_share_of_the_speakers_is_kept_out_where_none_are_named_the_smallest_first():
    corpus = Corpus(clips(big=50, mid=5, one=1, two=2), CorpusSettings(validation_share=0.5))
    assert {clip.speaker for clip in corpus.validation} == {"one", "two"}
    again = Corpus(clips(two=2, one=1, mid=5, big=50), CorpusSettings(validation_share=0.5))
    assert {clip.speaker for clip in again.validation} == {"one", "two"}


def test_a_share_keeps_out_one_speaker_at_least_and_never_all():
    assert Corpus(clips(a=1, b=1), CorpusSettings(validation_share=0.01)).validation
    assert Corpus(clips(a=1, b=1), CorpusSettings(validation_share=0.99)).training
    assert not Corpus(clips(a=9), CorpusSettings(validation_share=0.5)).validation


def test_named_speakers_take_the_place_of_a_share():
    corpus = Corpus(clips(a=9, b=1, c=1), CorpusSettings(validation_share=0.5, validation_speakers=("a",)))
    assert {clip.speaker for clip in corpus.validation} == {"a"}


def test_no_more_validation_clips_are_measured_than_asked_for_evenly_spread():
    settings = CorpusSettings(validation_speakers=("a",), validation_clips=3)
    assert [clip.name for clip in Corpus(clips(a=9, b=1), settings).validation] == ["0", "4", "8"]


def test_an_unknown_speaker_is_named_with_those_that_are_there():
    with pytest.raises(DataError, match="no speaker zoe: it has a, b"):
        Corpus(clips(a=1, b=1), CorpusSettings(validation_speakers=("zoe",)))


def test_a_long_list_of_speakers_is_cut():
    many = {f"s{i:03}": 1 for i in range(300)}
    with pytest.raises(DataError) as raised:
        Corpus(clips(**many), CorpusSettings(test_speakers=("zoe",)))
    assert "and 288 more" in str(raised.value)


def test_keeping_everybody_out_is_refused():
    with pytest.raises(DataError, match="nothing is left"):
        Corpus(clips(a=1), CorpusSettings(validation_speakers=("a",)))


def test_one_speaker_cannot_be_for_validation_and_for_test():
    with pytest.raises(SettingsError, match="speaker b is named for validation and for test"):
        CorpusSettings(validation_speakers=("a", "b"), test_speakers=("b",))


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_is_from_0_to_1(share):
    with pytest.raises(SettingsError, match="validation_share"):
        CorpusSettings(validation_share=share)
