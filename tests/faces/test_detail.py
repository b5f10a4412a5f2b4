from __future__ import annotations

import cv2
import numpy as np
import pytest

from lipsync_cli.faces.detail import SteadyDetail, borrow_detail, speaking_part
from lipsync_cli.interfaces import Image

SIZE = 96
MOUTH = np.s_[55:85, 25:70]
CHEEK = np.s_[42:94, 2:22]


def face(shift: float = 0.0) -> Image:
    """Slow shades with a few edges, moved to the right."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    x = x - shift
    shade = 130 + 40 * np.sin(x / 17) + 30 * np.cos(y / 13) + 25 * np.sin((x + 2 * y) / 7)
    return np.stack([shade, shade * 0.8, shade * 0.7], -1).clip(0, 255).astype(np.uint8)


def texture(seed: int, shift: int = 0, strength: float = 12) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 1, (SIZE, SIZE + 40))
    noise = cv2.GaussianBlur(noise, (0, 0), 0.8)
    part = noise[:, 20 - shift : 20 - shift + SIZE]
    return (strength * part / part.std())[..., None].repeat(3, -1)


def with_texture(picture: Image, detail: np.ndarray) -> Image:
    return (picture + detail).round().clip(0, 255).astype(np.uint8)


def trembling(frames: list[Image]) -> float:
    stack = np.stack(frames).astype(float)[(slice(None), *MOUTH)]
    return float(np.abs(stack[:-2] - 2 * stack[1:-1] + stack[2:]).mean())


def steadied(generated: list[Image], restored: list[Image], memory: float = 0.7) -> list[Image]:
    steady = SteadyDetail(memory)
    return [steady.blend(g, r) for g, r in zip(generated, restored, strict=True)]


def sharpness(picture: Image, where: tuple[slice, slice] = MOUTH) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[where], cv2.CV_32F).var())


def test_detail_that_changes_in_every_frame_is_calmed() -> None:
    generated = [face()] * 20
    restored = [with_texture(g, texture(i)) for i, g in enumerate(generated)]
    calm = steadied(generated, restored)
    assert trembling(calm) < 0.45 * trembling(restored)


def test_detail_that_moves_with_the_face_is_kept_and_stays_sharp() -> None:
    generated = [face(i) for i in range(12)]
    restored = [with_texture(g, texture(5, shift=i)) for i, g in enumerate(generated)]
    calm = steadied(generated, restored)
    assert sharpness(calm[-1]) > 0.7 * sharpness(restored[-1])
    left = np.abs(calm[-1].astype(float) - restored[-1])[MOUTH].mean()
    assert left < 0.35 * np.abs(texture(5))[MOUTH].mean()


def test_where_the_motion_explains_nothing_the_past_is_forgotten() -> None:
    first, second = face(), np.ascontiguousarray(255 - face()[::-1])
    steady = SteadyDetail(0.9)
    steady.blend(first, with_texture(first, texture(1)))
    restored = with_texture(second, texture(2))
    changed = np.abs(steady.blend(second, restored).astype(int) - restored)[MOUTH]
    assert changed.mean() < 2.5


def test_only_the_mouth_and_the_cheeks_are_steadied() -> None:
    part = speaking_part(SIZE)
    assert (part[: SIZE // 3] == 0).all()
    assert (part[MOUTH] > 0.99).all()
    generated = [face()] * 2
    restored = [with_texture(g, texture(i)) for i, g in enumerate(generated)]
    calm = steadied(generated, restored)
    assert np.array_equal(calm[1][: SIZE // 3], restored[1][: SIZE // 3])


def test_the_first_frame_and_the_one_after_a_reset_are_untouched() -> None:
    steady = SteadyDetail(0.9)
    for seed in range(3):
        restored = with_texture(face(), texture(seed))
        assert np.array_equal(steady.blend(face(), restored), restored)
        steady.reset()


def test_no_memory_changes_nothing() -> None:
    generated = [face()] * 3
    restored = [with_texture(g, texture(i)) for i, g in enumerate(generated)]
    assert all(
        np.array_equal(a, b) for a, b in zip(steadied(generated, restored, 0.0), restored, strict=True)
    )


def test_another_size_of_crop_begins_anew() -> None:
    steady = SteadyDetail(0.9)
    steady.blend(face(), with_texture(face(), texture(0)))
    large = cv2.resize(face(), (192, 192))
    assert np.array_equal(steady.blend(large, large), large)


@pytest.mark.parametrize("memory", [-0.1, 1.0])
def test_a_memory_outside_its_range_is_refused(memory: float) -> None:
    with pytest.raises(ValueError, match="memory"):
        SteadyDetail(memory)


def test_borrowed_detail_brings_the_sharpness_of_the_filmed_skin() -> None:
    filmed = with_texture(face(), texture(3))
    borrowed = borrow_detail(face(), filmed)
    assert sharpness(face(), CHEEK) < 0.2 * sharpness(filmed, CHEEK)
    assert sharpness(borrowed, CHEEK) > 0.5 * sharpness(filmed, CHEEK)
    left = np.abs(borrowed.astype(float) - filmed)[CHEEK].mean()
    assert left < 0.7 * np.abs(texture(3))[CHEEK].mean()


def test_lips_get_nothing_of_the_filmed_ones() -> None:
    borrowed = borrow_detail(face(), with_texture(face(), texture(3)))
    lips = np.s_[60:74, 32:64]
    assert np.array_equal(borrowed[lips], face()[lips])


def test_a_face_that_is_as_sharp_already_gets_nothing() -> None:
    generated = with_texture(face(), texture(4))
    borrowed = borrow_detail(generated, with_texture(face(), texture(3)))
    assert np.abs(borrowed.astype(float) - generated).mean() < 0.25 * np.abs(texture(4)).mean()


def test_detail_that_the_face_has_already_is_not_added_twice() -> None:
    """A generator that moves the filmed pixels keeps a weakened form of their very detail."""
    filmed = with_texture(face(), texture(3))
    borrowed = borrow_detail(with_texture(face(), 0.7 * texture(3)), filmed)
    assert 0.9 < sharpness(borrowed, CHEEK) / sharpness(filmed, CHEEK) < 1.1


def test_nothing_is_borrowed_where_the_skin_is_another() -> None:
    darker = np.clip(with_texture(face(), texture(3)).astype(int) - 60, 0, 255).astype(np.uint8)
    assert np.abs(borrow_detail(face(), darker).astype(int) - face()).max() <= 1


def test_no_strength_changes_nothing() -> None:
    assert np.array_equal(borrow_detail(face(), with_texture(face(), texture(3)), 0.0), face())
