"""What a dub is made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from lipsync_cli.faces.choice import FaceChoice, Largest
from lipsync_cli.interfaces import FaceDetector, FaceGenerator, FrameStream, LandmarkFinder, Restorer, Speech
from lipsync_cli.speech.pauses import Spans


@dataclass(frozen=True)
class Speaker:
    """One of the people who speak."""

    duration: float
    """Seconds of the speech."""
    choice: FaceChoice = field(default_factory=Largest)
    """Whose face it is."""
    name: str = ""
    """Of that face, as the user calls it; empty where any face will do."""


@dataclass(frozen=True)
class Drawing:
    """What draws the mouths."""

    silent_lip: FaceGenerator
    """G_S."""
    talking_face: FaceGenerator
    """G_L."""
    speeches: tuple[Speech, ...]
    """What they hear: of each speaker."""
    pauses: tuple[Spans, ...]
    """Of each of these speeches, seconds."""
    restorer: Restorer | None = None
    """For the settings' `restore`, where that is a network."""


@dataclass(frozen=True)
class DubParts:
    """What a dub is made with; all of it protocols."""

    stream: FrameStream
    detector: FaceDetector
    finder: LandmarkFinder
    drawing: Callable[[], Drawing]
    """The same at each call. It is asked for late, by the thread that dubs, and may still have to be waited
    for: a video is watched without it until the first shot with a face ends."""
    speakers: tuple[Speaker, ...]

    @property
    def longest(self) -> float:
        """Seconds until the last of them is silent."""
        return max(speaker.duration for speaker in self.speakers)
