"""What a dub is made with."""

from __future__ import annotations

from dataclasses import dataclass, field

from lipsync_cli.faces.choice import FaceChoice, Largest
from lipsync_cli.interfaces import FaceDetector, FaceGenerator, FrameStream, LandmarkFinder, Restorer, Speech
from lipsync_cli.speech.pauses import Spans


@dataclass(frozen=True)
class Speaker:
    """One of the people who speak."""

    speech: Speech
    duration: float
    """Seconds of the speech."""
    choice: FaceChoice = field(default_factory=Largest)
    """Whose face it is."""
    pauses: Spans = field(default_factory=list)
    """Of the speech, seconds."""
    name: str = ""
    """Of that face, as the user calls it; empty where any face will do."""


@dataclass(frozen=True)
class DubParts:
    """What a dub is made with; all of it protocols."""

    stream: FrameStream
    speech: Speech
    duration: float
    """Seconds of speech."""
    detector: FaceDetector
    finder: LandmarkFinder
    silent_lip: FaceGenerator
    """G_S."""
    talking_face: FaceGenerator
    """G_L."""
    restorer: Restorer | None = None
    """For the settings' `restore`, where that is a network."""
    choice: FaceChoice = field(default_factory=Largest)
    """Whose face says `speech`."""
    pauses: Spans = field(default_factory=list)
    """Of `speech`, seconds."""
    name: str = ""
    """Of that face, as the user calls it; empty where any face will do."""
    others: tuple[Speaker, ...] = ()
    """Further people of the video, who say something else."""

    @property
    def speakers(self) -> tuple[Speaker, ...]:
        """All who speak."""
        return (Speaker(self.speech, self.duration, self.choice, self.pauses, self.name), *self.others)

    @property
    def longest(self) -> float:
        """Seconds until the last of them is silent."""
        return max(speaker.duration for speaker in self.speakers)
