from __future__ import annotations

import numpy as np
import pytest

from lipsync_cli.dubbing.references import (
    Candidate,
    CandidateKeeper,
    References,
    choose,
    crop_size,
    references_of,
)
from lipsync_cli.dubbing.silencing import Silencer
from lipsync_cli.faces.crop import crop_face
from lipsync_cli.faces.landmarks import extent
from lipsync_cli.faces.track import FaceTrack
from lipsync_cli.interfaces import Box


def track(openings, yaws=None, widths=None) -> FaceTrack:
    n = len(openings)
    boxes = np.zeros((n, 5), np.float32)
    boxes[:, 2] = 100 if widths is None else widths
    boxes[:, 3] = 120
    return FaceTrack(
        times=np.arange(n) / 25,
        boxes=boxes,
        present=np.ones(n, bool),
        openings=np.asarray(openings, np.float32),
        yaws=np.zeros(n, np.float32) if yaws is None else np.asarray(yaws, np.float32),
        outlines=np.zeros((n, 4, 2), np.float32),
        shot_starts=np.arange(n) == 0,
    )


def candidates(openings, blurred=()) -> list[Candidate]:
    noise = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    return [
        Candidate(i, float(o), np.full_like(noise, 128) if i in blurred else noise, (0, 0), 1.0)
        for i, o in enumerate(openings)
    ]


OPENINGS = [0.05, 0.004, 0.12, 0.003, 0.11, 0.05, 0.05, 0.05, 0.06, 0.05, 0.04, 0.05]


def chosen(shot: FaceTrack, given: list[Candidate]) -> tuple[int, int]:
    closed, opened = choose(shot, given)
    return closed.index, opened.index


def test_the_most_closed_and_the_most_open_frame_are_chosen() -> None:
    assert chosen(track(OPENINGS), candidates(OPENINGS)) == (3, 2)


def test_a_frame_of_the_usual_turn_of_the_head_is_preferred() -> None:
    yaws = [0.0] * 12
    yaws[3], yaws[2] = 25, -25
    assert chosen(track(OPENINGS, yaws=yaws), candidates(OPENINGS)) == (1, 4)


def test_a_frame_of_the_usual_size_is_preferred() -> None:
    widths = [100.0] * 12
    widths[3] = widths[2] = 50
    assert chosen(track(OPENINGS, widths=widths), candidates(OPENINGS)) == (1, 4)


def test_a_blurred_frame_is_avoided() -> None:
    assert chosen(track(OPENINGS), candidates(OPENINGS, blurred=(2, 3))) == (1, 4)


def test_a_frame_that_is_only_rather_closed_or_open_is_never_chosen_for_its_turn() -> None:
    yaws = [0.0] * 12
    for index in (1, 2, 3, 4):
        yaws[index] = 30
    assert set(chosen(track(OPENINGS, yaws=yaws), candidates(OPENINGS))) <= {1, 2, 3, 4}


def test_one_frame_serves_as_both() -> None:
    assert chosen(track([0.05]), candidates([0.05])) == (0, 0)


def test_the_keeper_holds_few_frames_however_long_the_shot(world) -> None:
    keeper = CandidateKeeper()
    random = np.random.default_rng(1)
    openings = random.uniform(0, 0.12, 500).round(3)
    for index, opening in enumerate(openings):
        shown = world.Shown(opening=float(opening))
        image = world.draw(shown)
        landmarks = world.Finder().find(image, Box(0, 0, 1, 1))
        keeper.offer(index, image, landmarks, opening=float(opening), yaw=random.uniform(-90, 90))
    kept = keeper.take()
    assert len(kept) <= 9 * 6
    assert {int(openings.argmin()), int(openings.argmax())} <= {candidate.index for candidate in kept}
    assert keeper.take() == []


@pytest.mark.parametrize("width", [300, 2000])
@pytest.mark.parametrize("angle", [0.0, 0.25])
def test_a_candidate_gives_the_crop_that_the_whole_picture_would(world, width, angle) -> None:
    rows, columns = np.mgrid[: width * 3 // 4, :width]
    phase = 40 / width
    image = np.stack(
        [127 + 100 * np.sin(columns * phase), 127 + 100 * np.cos(rows * phase), rows * 0.1], axis=2
    )
    image = image.astype(np.uint8)
    face = Box(width * 0.3, width * 0.1, width * 0.6, width * 0.5, angle)
    smoothed = Box(width * 0.29, width * 0.13, width * 0.59, width * 0.53, angle + 0.02)
    whole = crop_face(image, smoothed, 192).astype(int)
    part = Candidate.cut(0, 0.0, image, face).crop(smoothed, 192).astype(int)
    assert np.abs(whole - part).max() <= (0 if width == 300 else 4)


def test_a_candidate_at_the_edge_of_the_picture_has_a_patch(world) -> None:
    image = world.draw(world.Shown())
    for left in (-200.0, -30.0, 80.0, 500.0):
        patch = Candidate.cut(0, 0.0, image, Box(left, -20, left + 40, 20)).patch
        assert min(patch.shape[:2]) >= 1


@pytest.mark.parametrize(("side", "size"), [(20, 32), (33, 32), (40, 64), (60, 64), (100, 128), (1000, 192)])
def test_a_scalable_generator_works_at_the_first_multiple_that_holds_the_face(world, side, size) -> None:
    shot = track([0.05] * 3)
    shot.boxes[:, 2:4] = side
    assert crop_size(shot, world.Generator()) == size
    assert crop_size(shot, world.Generator(scalable=False)) == 32


def test_really_closed_lips_are_a_reference_as_they_are(world) -> None:
    shows = [world.Shown(opening=0.005 if i % 10 == 5 else 0.08) for i in range(40)]
    counts = world.dub(world.Stream(shows), 1.6)
    assert counts.silenced_references == 0
    assert world.silent_lip.heard == []
    closed, opened = world.talking_face.references[0]
    assert int(closed[8, 8, 2]) == 100 + 5 // 4  # the fake's pictures tell their opening in blue
    assert int(opened[8, 8, 2]) == 100 + 80 // 4


def test_otherwise_the_silent_lip_generator_is_fed_silence(world) -> None:
    shows = [world.Shown(opening=0.05 if i % 10 == 5 else 0.08) for i in range(40)]
    counts = world.dub(world.Stream(shows), 1.6)
    assert counts.silenced_references == 1
    assert world.silent_lip.heard == [-1000.0]
    closed, opened = world.talking_face.references[0]
    half = len(closed) // 2
    assert not closed[half:].any()  # what the fake paints at a whole second
    assert int(closed[8, 8, 2]) == 100 + 50 // 4
    assert opened[half:].any()


def test_a_generator_with_one_reference_always_gets_a_silenced_one(world) -> None:
    world.silent_lip.n_references = world.talking_face.n_references = 1
    shows = [world.Shown(opening=0.002 if i % 10 == 5 else 0.08) for i in range(40)]
    counts = world.dub(world.Stream(shows), 1.6)
    assert counts.silenced_references == 1
    assert world.silent_lip.heard == [-1000.0]
    assert all(pictures.shape[0] == 1 for pictures in world.talking_face.references)


def test_the_keeper_takes_the_face_as_the_track_sees_it(world) -> None:
    image = world.draw(world.Shown(opening=0.05))
    landmarks = world.Finder().find(image, Box(0, 0, 1, 1))
    keeper = CandidateKeeper()
    keeper.offer(0, image, landmarks, opening=0.05, yaw=0.0)
    (candidate,) = keeper.take()
    face = extent(landmarks)
    assert np.array_equal(candidate.crop(face, 32), crop_face(image, face, 32))


def test_each_turn_of_the_head_that_shows_both_mouths_has_references_of_its_own(world) -> None:
    shot = track([0.1 * (i % 8) / 8 for i in range(48)])
    shot.yaws[30:] = 24
    kept = candidates(shot.openings)
    found = references_of(shot, kept, Silencer(world.Generator(), world.Speech(), world.Finder()))
    assert found is not None
    assert len(found.sets()) == len(found.yaws) == 2
    assert found.yaws == (0, 24)  # the usual one first
    shot.openings[30:] = 0.03  # turned away it hardly moves: no references can be had there
    again = references_of(shot, kept, Silencer(world.Generator(), world.Speech(), world.Finder()))
    assert again is not None
    assert len(again.sets()) == 1


def test_a_short_turn_of_the_head_has_no_references_of_its_own(world) -> None:
    shot = track([0.1 * (i % 8) / 8 for i in range(48)])
    shot.yaws[40:] = 24
    kept = candidates(shot.openings)
    found = references_of(shot, kept, Silencer(world.Generator(), world.Speech(), world.Finder()))
    assert found is not None
    assert found.turned == ()


def test_between_two_turns_both_references_are_mixed_and_shares_add_up_to_one() -> None:
    pictures = np.zeros((2, 4, 4, 3), np.uint8)
    references = References(pictures, False, (0.0, 20.0, -10.0), (pictures, pictures))
    weights = references.weights([-30, -10, -5, 0, 5, 10, 11, 15, 40])
    assert weights.sum(axis=1) == pytest.approx(np.ones(9))
    assert weights[0].tolist() == weights[1].tolist() == [0, 0, 1]
    assert weights[2].tolist() == pytest.approx([0.5, 0, 0.5])
    assert weights[3].tolist() == weights[4].tolist() == [1, 0, 0]
    assert weights[5].tolist() == pytest.approx([0.5, 0.5, 0])
    assert 0.5 < weights[6][1] < 1
    assert weights[7].tolist() == weights[8].tolist() == [0, 1, 0]
