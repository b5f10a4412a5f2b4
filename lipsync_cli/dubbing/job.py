"""What a dub is asked to do, and what it tells of it afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from lipsync_cli.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class DubSettings:
    """Everything about a dub but its files; the line below each field is the help of its flag."""

    model: str = "default"
    """Networks: 'default', 'paper', or a checkpoint file of a talking-face generator."""
    silent_lip: Path | None = None
    """Checkpoint of the silent-lip generator, where --model is a file (else that file serves as both)."""
    detector: Literal["mediapipe", "fan"] = "mediapipe"
    """Face detector and landmarks: 'mediapipe', or the paper's 'fan' (slow; needs files of your own)."""
    restore: Literal["none", "light", "vqfr", "gfpgan", "gpen"] = "none"
    """Sharpen the generated face: 'light' borrows the filmed skin's texture (cheap), the others are networks
    whose weights you bring (1 to 20 s a frame without a GPU)."""
    restore_weights: str | None = None
    """Weights of --restore: a name in `lipsync weights list`, or a file (default: vqfr_v2, gfpgan, gpen)."""
    restore_strength: float = 1.0
    """How much of the sharpening shows, 0 to 1."""
    restore_fidelity: float = 0.5
    """VQFR v2: 0 for the sharpest texture, 1 to stay nearest to the face."""
    restore_memory: float = 0.7
    """Share of the past in the detail that a network adds, 0 to 0.95: against flicker."""
    longer: Literal["loop", "hold"] = "loop"
    """Speech longer than the video: 'loop' starts the video again, 'hold' shows its last frame."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Where the networks run."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """What the networks compute in."""
    batch: int = 25
    """Frames drawn at once (fewer where the picture is large)."""
    crf: float = 18
    """Quality of the video, 0 (best) to 51."""
    preset: str = "veryfast"
    """Speed of the video encoder, 'ultrafast' to 'veryslow'."""
    codec: Literal["h264", "hevc"] = "h264"
    """Format of the video."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise SettingsError(f"--batch {self.batch} is too small: use 1 or more")
        self._check_restoration()
        if self.silent_lip is not None and self.model in ("default", "paper"):
            raise SettingsError(
                f"--silent-lip goes with --model FILE: the networks of '{self.model}' have their own"
            )

    def _check_restoration(self) -> None:
        limits = {"restore_strength": 1.0, "restore_fidelity": 1.0, "restore_memory": 0.95}
        for name, most in limits.items():
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise SettingsError(f"--{name.replace('_', '-')} {value} must lie between 0 and {most:g}")
        if self.restore_weights is not None and self.restore in ("none", "light"):
            raise SettingsError(
                f"--restore-weights goes with --restore vqfr, gfpgan or gpen, not with '{self.restore}'"
            )


@dataclass(frozen=True, slots=True)
class DubJob:
    """One video, one speech, one output."""

    video: Path
    """A video or a still picture with a face."""
    audio: Path
    """Anything with sound."""
    output: Path
    settings: DubSettings = field(default_factory=DubSettings)
    report: Path | None = None
    """Where the report goes as JSON."""


class Progress(Protocol):
    """Told how far a dub is, often."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """stage is 'watch' or 'dub'; total is an estimate while watching."""
        ...


@dataclass(frozen=True, slots=True)
class NetworkUsed:
    """Which weights took part in a dub."""

    role: str
    name: str
    """Name in the registry, or the file."""
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DubCounts:
    """What became of the frames."""

    frames: int
    """Frames of the output."""
    dubbed: int
    """Frames whose mouth is generated."""
    passed_through: int
    """Frames without a face, unchanged."""
    shots: int
    """Shots of the video, as far as it was used."""
    silenced_references: int
    """Shots whose closed reference was made by the silent-lip generator (the others had a closed frame)."""
    video_seconds: float
    """Length of the output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DubReport:
    """A finished dub; plain values only (`settings.to_mapping` makes JSON of it)."""

    video: Path
    audio: Path
    output: Path
    settings: DubSettings
    counts: DubCounts
    networks: tuple[NetworkUsed, ...]
    device: str
    """What 'auto' came to."""
    precision: str
    width: int
    height: int
    seconds: float
    """Wall time of the whole dub."""
    frames_per_second: float
    """Frames of the output over that time."""
    peak_memory_mb: float | None
    """Largest resident memory of the process so far; None where the system does not tell."""

    def summary(self) -> str:
        """One line for people."""
        counts = self.counts
        line = f"{self.output}: {counts.frames} frames, {counts.video_seconds:.1f} s, {counts.dubbed} dubbed"
        if counts.passed_through:
            line += f", {counts.passed_through}/{counts.frames} frames without a face passed through"
        return f"{line}, took {self.seconds:.1f} s ({self.frames_per_second:.0f} fps)"
