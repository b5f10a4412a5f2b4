from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lipsync_cli.dubbing.job import DubSettings
from lipsync_cli.dubbing.pipeline import dub
from lipsync_cli.dubbing.restoration import borrow, restore
from lipsync_cli.dubbing.stages import DubFrame
from lipsync_cli.errors import SettingsError
from lipsync_cli.faces.crop import crop_face
from lipsync_cli.faces.track import FaceTrack
from lipsync_cli.interfaces import Box, FaceTemplate, Frame, Image

BOX = Box(40, 30, 140, 150, angle=0.2)
SIZE = 64
TEMPLATE = FaceTemplate(96, ((36, 45), (60, 45), (48, 59), (38, 70), (58, 70)))
SHOWN = np.s_[SIZE * 5 // 8 : SIZE * 7 // 8, SIZE // 3 : SIZE * 2 // 3]
"""Rows and columns of a crop where paste shows the generated face alone."""


def picture() -> Image:
    y, x = np.mgrid[:180, :200]
    return np.stack([100 + 40 * np.sin(x / 23), 120 + 30 * np.cos(y / 19), 90 + 0 * x], -1).astype(np.uint8)


def a_track(n: int = 1) -> FaceTrack:
    anchors = np.array([[72, 70], [108, 78], [87, 92], [68, 108], [98, 114]], np.float32)
    turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = np.stack([90 + 48 * np.cos(turns), 90 + 60 * np.sin(turns)], 1).astype(np.float32)
    return FaceTrack(
        times=np.arange(n) / 25,
        boxes=np.tile(np.array([BOX.x0, BOX.y0, BOX.x1, BOX.y1, BOX.angle], np.float32), (n, 1)),
        present=np.ones(n, bool),
        openings=np.zeros(n, np.float32),
        yaws=np.zeros(n, np.float32),
        outlines=np.tile(ring, (n, 1, 1)),
        shot_starts=np.arange(n) == 0,
        anchors=np.tile(anchors, (n, 1, 1)),
    )


def item(index: int = 0, tint: int = 0) -> DubFrame:
    image = picture()
    crop = crop_face(image, BOX, SIZE)
    face = np.clip(crop.astype(int) + tint, 0, 255).astype(np.uint8)
    return DubFrame(Frame(index, index / 25, image), index, shot=0, box=BOX, crop=crop, face=face)


class Tinted:
    """Adds light; remembers what it saw."""

    def __init__(
        self, template: FaceTemplate | None, scale: int = 1, lights: tuple[float, ...] = (40,)
    ) -> None:
        self.template, self.scale, self.lights = template, scale, lights
        self.seen: list[torch.Tensor] = []

    def __call__(self, faces: torch.Tensor) -> torch.Tensor:
        light = self.lights[len(self.seen) % len(self.lights)]
        self.seen.append(faces)
        larger = faces.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)
        return (larger + light / 255).clamp(0, 1)


def test_without_a_template_the_crop_itself_is_restored_and_may_grow() -> None:
    given = item()
    (out,) = restore(iter([given]), Tinted(None, scale=2), a_track())
    expected = given.face.astype(int).repeat(2, 0).repeat(2, 1) + 40
    assert np.abs(out.face.astype(int) - np.clip(expected, 0, 255)).max() <= 1


@pytest.mark.parametrize("scale", [1, 2])
def test_with_a_template_the_pasted_face_is_aligned_and_its_crop_comes_back(scale: int) -> None:
    restorer = Tinted(TEMPLATE, scale)
    given = item()
    (out,) = restore(iter([given]), restorer, a_track())
    assert restorer.seen[0].shape == (1, 3, TEMPLATE.size, TEMPLATE.size)
    expected = crop_face(picture(), BOX, out.face.shape[0]).astype(int) + 40
    assert np.abs(out.face.astype(int) - expected)[5:-5, 5:-5].max() <= 6


def test_the_network_sees_the_generated_mouth_in_the_filmed_face() -> None:
    restorer = Tinted(TEMPLATE, lights=(0,))
    (out,) = restore(iter([item(tint=50)]), restorer, a_track())
    change = np.abs(out.face.astype(int) - crop_face(picture(), BOX, out.face.shape[0])).mean(2)
    n = len(change)
    assert change[: n // 3].max() <= 6
    assert change[n * 5 // 8 : n * 7 // 8, n // 3 : n * 2 // 3].mean() > 12  # paste took some of the tint off


@pytest.mark.parametrize(("strength", "light"), [(0.0, 0), (0.5, 20), (1.0, 40)])
def test_strength_is_the_share_of_the_restored_face(strength: float, light: int) -> None:
    given = item()
    (out,) = restore(iter([given]), Tinted(None), a_track(), strength=strength)
    assert np.abs((out.face.astype(int) - given.face)[SHOWN] - light).max() <= 1


def test_memory_calms_a_restorer_that_flickers() -> None:
    def changes(memory: float) -> float:
        frames = [item(i) for i in range(9)]
        out = list(restore(iter(frames), Tinted(None, lights=(0, 30)), a_track(9), memory=memory))
        shown = np.stack([each.face.astype(float)[SHOWN] for each in out])
        return float(np.abs(np.diff(shown, axis=0)).mean())

    assert changes(0.0) == pytest.approx(30, abs=1)
    assert changes(0.7) < 10


def test_boxes_that_breathe_do_not_interrupt_the_memory() -> None:
    """Detail is carried over in crops of one size, whatever the size of each box."""
    n = 6
    track = a_track(n)
    frames = [replace(item(i), box=replace(BOX, x1=BOX.x1 + i % 2, y1=BOX.y1 + i % 2)) for i in range(n)]
    restorer = Tinted(TEMPLATE, lights=(0, 40))
    out = list(restore(iter(frames), restorer, track, memory=0.8))
    assert {each.face.shape for each in out} == {(120, 120, 3)}
    middle = np.stack([each.face[60:90, 45:75].astype(float).mean() for each in out[2:]])
    assert np.ptp(middle) < 20


@pytest.mark.parametrize("break_at", ["no face", "shot", "source"])
def test_nothing_is_carried_over_a_break(break_at: str) -> None:
    frames = [item(i) for i in range(4)]
    if break_at == "no face":
        frames[2] = replace(frames[2], box=None, crop=None, face=None)
    elif break_at == "shot":
        frames[2:] = [replace(each, shot=1) for each in frames[2:]]
    else:
        frames[2:] = [replace(each, source=each.source + 5) for each in frames[2:]]
    n = len(frames) + 5
    restorer = Tinted(None, lights=(0, 0, 30) if break_at != "no face" else (0, 0, 30, 30))
    out = list(restore(iter(frames), restorer, a_track(n), memory=0.9))
    after = out[3] if break_at == "no face" else out[2]
    assert np.abs((after.face.astype(int) - item().face)[SHOWN] - 30).max() <= 1
    if break_at == "no face":
        assert out[2] is frames[2]


def test_borrowing_leaves_frames_without_a_face_and_keeps_the_size() -> None:
    bare = DubFrame(Frame(0, 0.0, picture()), 0)
    first, second = borrow(iter([bare, item()]))
    assert first is bare
    assert second.face.shape == (SIZE, SIZE, 3)


def test_a_dub_restores_before_it_pastes(world) -> None:
    restorer = Tinted(None, lights=(60,))
    stream = world.Stream([world.Shown()] * 6)
    plain = world.dub(stream, 0.24)
    without = [frame.image for frame in world.sink.frames]
    world.sink.frames = []
    parts = world.parts(stream, 0.24)
    drawing = parts.drawing()
    parts = replace(parts, drawing=lambda: replace(drawing, restorer=restorer))
    dub(parts, lambda rate: world.sink, DubSettings(restore="vqfr", restore_memory=0))
    assert len(restorer.seen) == plain.dubbed == 6
    brighter = world.sink.frames[3].image.astype(int) - without[3]
    assert brighter.max() > 20
    assert brighter[:40].max() == 0


@pytest.mark.parametrize(
    "settings",
    [{"restore_strength": 1.5}, {"restore_fidelity": -1}, {"restore_memory": 1.0}, {"restore_weights": "x"}],
)
def test_settings_that_cannot_be_are_refused_by_the_name_of_their_flag(settings: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="--" + next(iter(settings)).replace("_", "-")):
        DubSettings(**settings)
