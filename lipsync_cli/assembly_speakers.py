"""Who says what: faces and sounds as the user names them -> what the pipeline and the writer take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from lipsync_cli.errors import FaceError

if TYPE_CHECKING:
    from lipsync_cli.dubbing.job import DubJob, DubSettings, NetworkUsed
    from lipsync_cli.faces.choice import FaceChoice
    from lipsync_cli.interfaces import FaceDetector, Image, LandmarkFinder, Landmarks
    from lipsync_cli.media.mix import Sound

_PLACES = ("left", "right", "centre")


def sounds_of(settings: DubSettings) -> list[tuple[str, Path]]:
    """The further speakers: whose face, and what that one says."""
    pairs = (pair.rpartition("=") for pair in settings.speech_for)
    return [(face, Path(sound)) for face, _, sound in pairs]


def files_of(job: DubJob) -> list[Path]:
    """All files that a job reads besides its networks."""
    settings = job.settings
    files = [job.video, job.audio, *(sound for _, sound in sounds_of(settings)), *faces_of(settings)]
    if settings.background not in (None, "original"):
        files.append(Path(str(settings.background)))
    return files


def faces_of(settings: DubSettings) -> list[Path]:
    """The pictures that name people."""
    faces = (settings.face, *(face for face, _ in sounds_of(settings)))
    return [Path(face) for face in faces if is_picture(face)]


def is_picture(face: str) -> bool:
    """Whether a face is named by a picture and not by its place."""
    return face not in ("largest", *_PLACES) and not face.isdecimal()


def make_face_choice(
    face: str,
    faces: tuple[FaceDetector, LandmarkFinder],
    used: list[NetworkUsed],
    *,
    alone: bool,
) -> FaceChoice:
    """What `--face` says.

    A face that is named by its place is that person's from then on, whatever the places are later. The
    largest face is taken as it comes where nobody else speaks (`alone`).

    Raises MediaError for a picture that cannot be read, FaceError for one without a face.
    """
    from lipsync_cli.faces.choice import ByLikeness, ByPlace, Largest, Place, ThenTheSame
    from lipsync_cli.faces.descriptor import FaceDescriptor
    from lipsync_cli.registry.store import find_weights, load_registry

    if face == "largest" and alone:
        return Largest()
    name = load_registry().name_for("face_mean")
    path = find_weights(name)
    descriptor = FaceDescriptor(path)
    _note(used, name, path)
    if face == "largest":
        return ThenTheSame(Largest(), descriptor)
    if not is_picture(face):
        place: Place | int = int(face) if face.isdecimal() else cast(Literal["left", "right", "centre"], face)
        return ThenTheSame(ByPlace(place), descriptor)
    return ByLikeness(descriptor.describe(*_face_in(Path(face), faces)), descriptor)


def make_sound(job: DubJob) -> Path | Sound:
    """What is heard in the output: the speech, or all speeches and what is mixed in behind them."""
    from lipsync_cli.media.mix import MixedSound, Voice
    from lipsync_cli.media.probe import probe_audio

    settings = job.settings
    voices = [Voice(job.audio), *(Voice(sound) for _, sound in sounds_of(settings))]
    if settings.background is not None:
        path = job.video if settings.background == "original" else Path(settings.background)
        if probe_audio(path).duration > 0:
            voices.append(Voice(path, settings.background_volume, repeats=True))
    return job.audio if len(voices) == 1 else MixedSound(voices)


def _face_in(path: Path, faces: tuple[FaceDetector, LandmarkFinder]) -> tuple[Image, Landmarks]:
    """The picture and the landmarks of its largest face."""
    from lipsync_cli.faces.track import FaceTracker
    from lipsync_cli.media.reader import VideoReader

    image = next(iter(VideoReader(path))).image
    landmarks, _ = FaceTracker(*faces).observe(image)
    if landmarks is None:
        raise FaceError(f"{path}: no face is found in this picture; give one that shows the person's face")
    return image, landmarks


def _note(used: list[NetworkUsed], name: str, path: Path) -> None:
    from lipsync_cli.dubbing.job import NetworkUsed
    from lipsync_cli.registry.store import sha256_of

    if all(known.role != "face_mean" for known in used):
        used.append(NetworkUsed("face_mean", name, sha256_of(path)))
