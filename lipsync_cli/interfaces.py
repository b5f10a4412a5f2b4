"""Small values and the protocols between the parts.

Pictures outside networks are uint8 [H, W, 3] RGB; inside networks float [..., 3, H, W] RGB in [0, 1]
(`regions.py` converts). Times are seconds as float, frame rates `Fraction`. Pixel coordinates are
(x, y), x to the right and y down, with (0, 0) the centre of the top left pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Image = NDArray[np.uint8]
"""uint8 [H, W, 3] RGB."""
Plane = NDArray[np.unsignedinteger[Any]]
"""[H, W] of one colour, of 8 or of 10 bits."""
Points = NDArray[np.float32]
"""float32 [N, 2], pixel coordinates (x, y)."""


@dataclass(frozen=True, slots=True)
class Colours:
    """How a video stores its pictures; the first three are numbers of ITU-T H.273."""

    matrix: int
    primaries: int
    transfer: int
    bits: int = 8
    """Of a colour: 8 or 10."""


class Area(NamedTuple):
    """Whole pixels of a picture: its columns x to x + width, its rows y to y + height."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Change:
    """An area of a picture, of even place and size, that shows something else than it did."""

    area: Area
    before: Image
    after: Image


class StoredPicture(Protocol):
    """A picture as its file holds it, upright: 4:2:0, limited range, of even size; seen, it is RGB."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the whole as RGB: (H, W, 3)."""

    @property
    def image(self) -> Image:
        """All of it with its changes; once made, the same array every time."""

    @property
    def colours(self) -> Colours: ...

    @property
    def changes(self) -> tuple[Change, ...]:
        """What is shown otherwise than it is stored, the latest last."""

    def planes(self) -> tuple[Plane, Plane, Plane]:
        """Y [H, W], U and V [H / 2, W / 2], without the changes; not to be written to."""

    def part(self, area: Area) -> Image:
        """An area inside of `image`, without making the rest; not to be written to."""

    def reduced(self, area: Area, step: int) -> tuple[Image, Area]:
        """About the means of step (a power of two) x step pixels, and of which area: one that holds the asked
        one, but for up to `step` pixels at the picture's edge. Not to be written to."""

    def every(self, step: int) -> Image:
        """About `image[::step, ::step]`: colours are not interpolated, changes are left out."""

    def with_part(self, area: Area, part: Image) -> Self:
        """A picture in which an area shows something else; this one stays as it is."""


Picture = Image | StoredPicture
"""`pictures.py` says how to look at one without asking which it is."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture."""

    index: int
    """0-based, in the order of presentation."""
    time: float
    """Presentation time stamp in seconds; 0 is the start of the file's own time line."""
    picture: Picture
    """RGB, or what is stored of it: what of that is unchanged can be written as it is."""

    @property
    def image(self) -> Image:
        """All of the picture, uint8 [H, W, 3] RGB."""
        return self.picture if isinstance(self.picture, np.ndarray) else self.picture.image


@dataclass(frozen=True, slots=True)
class Waveform:
    """Sound: float32 [n] mono in [-1, 1]."""

    samples: NDArray[np.float32]
    sample_rate: int

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What is known of a video before decoding it."""

    path: Path
    width: int
    height: int
    """Pixels, after rotation."""
    rate: Fraction
    """Average frames a second."""
    duration: float
    """Seconds, as the container declares or as measured where it declares none."""
    n_frames: int
    """Number of frames, an estimate where the container does not say."""
    codec: str
    colours: Colours | None = None
    """Those that what is written keeps; None: the usual ones of its size, in 8 bits."""
    bits: int = 8
    """Of a colour, as the file stores it."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What is known of a sound track before decoding it."""

    path: Path
    sample_rate: int
    channels: int
    duration: float
    """Seconds."""
    codec: str
    layout: str = ""
    """Which channels, by ffmpeg's names (mono, stereo, 5.1, 5.1(side), ...)."""


class FrameStream(Protocol):
    """Frames of a video in order of presentation. Re-iterable: every iter() starts again at frame 0."""

    @property
    def info(self) -> VideoInfo: ...

    def __iter__(self) -> Iterator[Frame]: ...


class FrameSink(Protocol):
    """Takes frames in order of time; the file appears under its name only on a clean exit."""

    def write(self, frame: Frame) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Box:
    """An upright or turned rectangle in a picture.

    (x0, y0) and (x1, y1) are its corners in pixels before it is turned by `angle` radians
    (clockwise on the screen, as y points down) about its centre.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    angle: float = 0.0

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def centre(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def moved(self, x: float, y: float) -> Box:
        """The same box elsewhere: so many pixels to the right and down."""
        return Box(self.x0 + x, self.y0 + y, self.x1 + x, self.y1 + y, self.angle)


@dataclass(frozen=True, slots=True)
class Detection:
    """A face found in a whole picture."""

    box: Box
    score: float
    """[0, 1]"""
    eyes: tuple[tuple[float, float], tuple[float, float]] | None = None
    """Centres of the eye on the left and on the right of the picture, where the detector tells them."""


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Points of one face."""

    points: Points
    """Pixel coordinates in the whole picture; [468, 2] for `mesh468`, [68, 2] for `ibug68`."""
    scheme: str
    """Which point is which: `mesh468` (MediaPipe face mesh) or `ibug68` (FAN)."""
    score: float
    """That this is a face, [0, 1]."""


class FaceDetector(Protocol):
    """Finds all faces of a picture, the most certain first."""

    def detect(self, image: Image) -> list[Detection]: ...


class LandmarkFinder(Protocol):
    """Finds the points of the one face in or near a box (as from a detector, or from the frame before)."""

    reach: float
    """From the box's centre to the sides of what it looks at, at most, in longer sides of the box."""
    pixels: int
    """Of a side of what it looks at: a finer picture tells it no more."""

    def find(self, image: Image, box: Box) -> Landmarks | None: ...


class Speech(Protocol):
    """What a generator hears, asked by presentation times of frames in seconds.

    Where the window of a frame lies around its time stamp is the speech's business alone, so that the
    frame rate never enters the audio side. Past either end of the sound there is silence.
    """

    def around(self, times: Sequence[float]) -> Tensor: ...


class FaceGenerator(Protocol):
    """G_S and G_L: draws a face that says what it hears."""

    image_size: int
    """S, pixels."""
    n_references: int
    """R, how many pictures of the speaker it looks at (the closed mouth first).

    0: it looks at the frame that it draws anew, which then comes in their place, as [B, 1, 3, S, S].
    """
    hears: str
    """Which `Speech`: `mel`, `mel_from_frame` ([B, 1, 80, 16]), `speech_embedding` ([B, 10, 384]) or
    `speech_embedding_wide` ([B, 40, 384])."""
    scalable: bool
    """True: it also takes references and pose at a whole multiple of S and answers at that size."""

    def __call__(self, speech: Tensor, references: Tensor, pose: Tensor) -> Tensor:
        """speech of B frames, references [B, R, 3, S, S], pose [B, 3, S, S] with its lower half zero,
        all pictures in [0, 1] -> faces [B, 3, S, S] in [0, 1]."""
        ...


@dataclass(frozen=True, slots=True)
class FaceTemplate:
    """Where in its pictures a restoration network wants a face to lie."""

    size: int
    """Side of the square picture, pixels."""
    anchors: tuple[tuple[float, float], ...]
    """Both eyes, the tip of the nose, both corners of the mouth (x, y); left is left in the picture."""


class Restorer(Protocol):
    """Sharpens faces."""

    scale: int
    template: FaceTemplate | None
    """How faces have to lie; None: it takes crops as they are."""

    def __call__(self, faces: Tensor) -> Tensor:
        """faces [B, 3, S, S] in [0, 1] -> [B, 3, scale * S, scale * S] in [0, 1]."""
        ...


class SyncScorer(Protocol):
    """Tells how well lips and sound belong together."""

    lips_size: tuple[int, int]
    """Height and width of the lips that it takes."""

    def __call__(self, lips: Tensor, mel: Tensor) -> Tensor:
        """lips [B, 5, 3, h, w] in [0, 1] (lower halves of 5 consecutive frames at 25 fps), mel
        [B, 1, 80, 16] of the same 0.2 s -> cosine [B]."""
        ...
