"""What a dub is asked to do, and what it tells of it afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from lipsync_cli.errors import SettingsError

Longer = Literal["loop", "pingpong", "hold", "trim"]


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
    face: str = "largest"
    """Whose mouth: 'largest', 'left', 'right', 'centre', a number (faces from the left, from 0), or a picture
    of the person."""
    speech_for: tuple[str, ...] = ()
    """FACE=SOUND: another person of the video (as for --face) and what that one says; may be repeated."""
    max_yaw: float = 45.0
    """Degrees that a head may be turned to the side; on the way there the filmed mouth comes back."""
    smallest_face: int = 24
    """Pixels: narrower faces keep the filmed mouth."""
    occluder: Literal["keep", "dub"] = "keep"
    """Something in front of the mouth, of another colour than it: 'keep' the filmed picture while it is
    there, or 'dub' all the same."""
    missing_face: Literal["pass", "fail"] = "pass"
    """Frames without the face: 'pass' them through unchanged, or 'fail' when there is one."""
    silence: Literal["closed", "original"] = "closed"
    """Pauses of the speech: 'closed' lips, or the 'original' mouth, where they last 0.4 s or more."""
    pauses: Literal["voice", "loudness"] = "voice"
    """Where the speech pauses: where no 'voice' is heard, be it quiet or not, or by its 'loudness' alone (for
    animals, instruments and whatever else the voice detector takes for noise)."""
    longer: Longer = "loop"
    """Speech longer than the video: 'loop' starts the video again, 'pingpong' runs it back and forth, 'hold'
    shows its last frame, 'trim' ends the speech with the video."""
    shorter: Literal["trim", "keep"] = "trim"
    """Speech shorter than the video: 'trim' ends the video with it, 'keep' shows the rest as filmed."""
    background: str | None = None
    """Sound to mix in: 'original' for the video's own, or a file."""
    background_volume: float = 0.3
    """Loudness of that sound, 0 to 1 (as it is)."""
    side_by_side: bool = False
    """Show the filmed picture on the left and the dubbed one on the right."""
    device: Literal["auto", "cuda", "mps", "cpu"] = "auto"
    """Where the networks run."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """What the networks compute in."""
    batch: int = 5
    """Frames drawn at once (fewer where the picture is large). 25 draw small pictures a tenth faster and take
    100 to 150 MB more."""
    crf: float = 18
    """Quality of the video, 0 (best) to 51."""
    preset: str = "auto"
    """Speed of the video encoder, 'ultrafast' to 'veryslow'; 'auto' is near 'veryfast', and faster."""
    codec: Literal["h264", "hevc"] = "h264"
    """Format of the video."""
    bits: Literal["auto", "8", "10"] = "auto"
    """Of a colour: 'auto' writes 10 where the source has more than 8 and the format is HEVC, else 8 (H.264 of
    10 bits is played by few devices)."""
    backend: Literal["pyav", "ffmpeg"] = "pyav"
    """What reads and writes video: 'pyav', or the 'ffmpeg' program of the system (the extra 'ffmpeg')."""
    encoder: str | None = None
    """With --backend ffmpeg: its encoder in place of that of --codec, as h264_nvenc or h264_videotoolbox."""
    filter: str | None = None
    """With --backend ffmpeg: filters for the filmed picture, as yadif,hqdn3d."""

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise SettingsError(f"--batch {self.batch} is too small: use 1 or more")
        if not 5 <= self.max_yaw <= 180:
            raise SettingsError(f"--max-yaw {self.max_yaw:g} must lie between 5 and 180 degrees")
        if self.smallest_face < 0:
            raise SettingsError(f"--smallest-face {self.smallest_face} must not be negative")
        if not 0 <= self.background_volume <= 1:
            raise SettingsError(f"--background-volume {self.background_volume:g} must lie between 0 and 1")
        for pair in self.speech_for:
            if not all(pair.rpartition("=")[::2]):
                raise SettingsError(f"--speech-for {pair}: write FACE=SOUND, as in right=answer.wav")
        for name in ("encoder", "filter"):
            if getattr(self, name) is not None and self.backend != "ffmpeg":
                raise SettingsError(f"--{name} goes with --backend ffmpeg, not with '{self.backend}'")
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
    resume: bool | None = False
    """Go on with this very dub where it was stopped, if it was; False never throws away what it had done,
    None does, where that is of another dub."""
    cache: bool = True
    """Whether what is seen of the video may come from an earlier dub, and is kept for later ones."""


_AS_FILMED = {
    "no_face": "without a face passed through",
    "profile": "turned away kept as filmed",
    "too_small": "with too small a face kept as filmed",
    "occluded": "with something in front of the mouth kept as filmed",
    "pause": "of pauses kept as filmed",
    "after_speech": "after the speech kept as filmed",
}


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


@dataclass(frozen=True, slots=True)
class StatusRun:
    """Frames of the output that follow each other and fared alike."""

    first: int
    frames: int
    status: str
    """`showing.Status`: dubbed, no_face, profile, too_small, occluded, pause or after_speech."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DubCounts:
    """What became of the frames."""

    frames: int
    """Frames of the output."""
    dubbed: int
    """Frames whose mouth is generated."""
    passed_through: int
    """Frames that are as filmed."""
    statuses: tuple[StatusRun, ...] = ()
    """What became of the frames, in stretches."""
    cuts: tuple[int, ...] = ()
    """Frames of the output with which another shot begins."""
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
    bits: int
    """Of a colour, in the output."""
    source_bits: int
    """Of a colour, in the source."""
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
        as_filmed: dict[str, int] = {}
        for run in counts.statuses:
            if run.status in _AS_FILMED:
                as_filmed[run.status] = as_filmed.get(run.status, 0) + run.frames
        if not counts.statuses and counts.passed_through:
            as_filmed = {"no_face": counts.passed_through}
        for status, frames in as_filmed.items():
            line += f", {frames}/{counts.frames} frames {_AS_FILMED[status]}"
        if self.source_bits > self.bits:
            line += f", {self.bits} bits a colour written of {self.source_bits}"
        return f"{line}, took {self.seconds:.1f} s ({self.frames_per_second:.0f} fps)"
