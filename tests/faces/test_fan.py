from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from lipsync_cli.errors import SettingsError, WeightsError
from lipsync_cli.faces import fan
from lipsync_cli.interfaces import Box

CONTENT = (b"landmarks", b"detector")
DIGITS = tuple(hashlib.sha256(content).hexdigest()[:10] for content in CONTENT)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torch's hub folder, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


class Aligner:
    """What FanFaces asks of the package, with answers that can be checked."""

    built: list[dict[str, object]]

    def __init__(self, kind: str, **settings: object) -> None:
        type(self).built.append(settings | {"kind": kind})
        self.seen: list[tuple[int, ...]] = []
        self.boxes: list[np.ndarray] = []
        self.face_detector = SimpleNamespace(detect_from_image=self._detect)

    def _detect(self, image: np.ndarray) -> list[np.ndarray]:
        self.seen.append(image.shape)
        return [np.array([10, 20, 30, 40, 0.7]), np.array([1, 2, 3, 4, 0.9])]

    def get_landmarks_from_image(self, image, detected_faces, return_landmark_score):
        assert return_landmark_score
        self.boxes += detected_faces
        return [np.full((68, 2), 7.0)], [np.full((68, 1), 0.2)], None


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> type[Aligner]:
    """The package face-alignment as if it were installed."""
    module = ModuleType("face_alignment")

    class Fresh(Aligner):
        built: list[dict[str, object]] = []  # noqa: RUF012 - what is built is counted over all of them

    module.FaceAlignment = Fresh  # type: ignore[attr-defined]
    module.LandmarksType = SimpleNamespace(TWO_D="2d")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "face_alignment", module)
    return Fresh


@pytest.fixture
def files(hub: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two files that are what their names say."""
    names = (f"landmarks-{DIGITS[0]}.pth.tar", f"detector-{DIGITS[1]}.pth")
    monkeypatch.setattr(fan, "FILES", names)
    paths = [hub / name for name in names]
    for path, content in zip(paths, CONTENT, strict=True):
        path.write_bytes(content)
    return paths


def test_without_the_package_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(SettingsError, match=r"pip install 'lipsync_cli\[fan\]'"):
        fan.FanFaces()


def test_missing_files_are_all_named_with_their_folder_and_source(hub: Path, package: type[Aligner]) -> None:
    with pytest.raises(WeightsError) as raised:
        fan.FanFaces()
    for text in (*fan.FILES, str(hub), fan.SOURCE + fan.FILES[0]):
        assert text in str(raised.value)
    assert package.built == []  # which would have downloaded them
    assert list(hub.iterdir()) == []


def test_only_the_missing_file_is_asked_for(files: list[Path], package: type[Aligner]) -> None:
    files[1].unlink()
    with pytest.raises(WeightsError) as raised:
        fan.FanFaces()
    assert files[1].name in str(raised.value)
    assert files[0].name not in str(raised.value)


def test_a_damaged_file_is_refused_before_it_is_read(files: list[Path], package: type[Aligner]) -> None:
    files[0].write_bytes(b"something else")
    with pytest.raises(WeightsError, match=f"{files[0].name}: damaged: .* not {DIGITS[0]}"):
        fan.FanFaces()
    assert package.built == []


def test_nothing_is_compiled_and_the_detector_is_the_checked_file(
    files: list[Path], package: type[Aligner]
) -> None:
    fan.FanFaces("cpu")
    (settings,) = package.built
    assert settings["compile"] is False
    assert settings["device"] == "cpu"
    assert settings["face_detector_kwargs"] == {"path_to_detector": str(files[1])}


@pytest.mark.usefixtures("files")
def test_large_pictures_are_looked_at_smaller_and_boxes_scaled_back(package: type[Aligner]) -> None:
    faces = fan.FanFaces()
    first, second = faces.detect(np.zeros((720, 1280, 3), np.uint8))
    assert faces._network.seen == [(360, 640, 3)]
    assert (first.score, second.score) == (0.9, 0.7)
    assert first.box == Box(2, 4, 6, 8)


@pytest.mark.usefixtures("files", "package")
def test_landmarks_are_sought_in_the_level_box_around_a_turned_one() -> None:
    faces = fan.FanFaces()
    found = faces.find(np.zeros((90, 90, 3), np.uint8), Box(20, 30, 40, 70, angle=np.pi / 2))
    assert found is not None
    assert (found.points.shape, found.scheme) == ((68, 2), "ibug68")
    assert found.score == pytest.approx(0.4)
    assert np.allclose(faces._network.boxes[0], [10, 40, 50, 60, 1])
    assert faces.find(np.zeros((90, 90, 3), np.uint8), Box(5, 5, 5, 5)) is None
