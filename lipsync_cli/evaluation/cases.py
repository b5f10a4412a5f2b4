"""What a run over a corpus makes and measures: which video, which speech, and whether a real one exists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lipsync_cli.data.corpora.source import SourceClip
from lipsync_cli.errors import DataError
from lipsync_cli.evaluation.folders import Pair
from lipsync_cli.evaluation.results import LeftOut

_LRW_FOLDERS = ("", "lipread_mp4", "main", "mvlrs_v1", "mvlrs_v1/main", "videos")


class VideoMaker(Protocol):
    """Makes the video to be judged."""

    def __call__(self, video: Path, speech: Path, output: Path) -> None:
        """The person in `video` says `speech`; raises a LipsyncError where that cannot be done."""
        ...


@dataclass(frozen=True, slots=True)
class Case:
    """One video of a corpus with the speech that it is to say."""

    name: str
    picture: SourceClip
    speech: SourceClip

    @property
    def is_paired(self) -> bool:
        """Whether the speech is the video's own, so that a real video of it exists."""
        return self.picture == self.speech


def own_speech(clips: Sequence[SourceClip]) -> list[Case]:
    """Self-reconstruction: every clip says its own words."""
    return [Case(f"{clip.speaker}/{clip.name}", clip, clip) for clip in clips]


def read_unpaired(path: Path, root: Path) -> tuple[list[Case], list[LeftOut]]:
    """The public lists of unpaired speech: a line is "SPEECH VIDEO", clips by their place below ROOT.

    As in Wav2Lip's evaluation/test_filelists (lrs2.txt, lrw.txt), which are never shipped: BBC's copyright.
    Endings may be missing. Clips that are not there are told.

    Raises:
        DataError: the list is missing or unreadable, a line has not two words, or no clip of it is there.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a list of speech and video: {error}") from error
    cases: list[Case] = []
    left_out: list[LeftOut] = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        if len(words) != 2:
            raise DataError(f"{path}, line {number}: '{line}' is not SPEECH VIDEO")
        name = f"{number:05d}"
        files = [_find(root, word) for word in words]
        missing = [word for word, file in zip(words, files, strict=True) if file is None]
        if missing:
            left_out.append(LeftOut(name, f"{root} has no {' and no '.join(missing)}"))
            continue
        speech, picture = (SourceClip(Path(str(file)), file.parent.name, file.stem) for file in files if file)
        cases.append(Case(name, picture, speech))
    if not cases:
        raise DataError(f"{path}: none of its {len(left_out)} pairs is in {root}")
    return cases, left_out


def _find(root: Path, word: str) -> Path | None:
    for folder in _LRW_FOLDERS:
        for suffix in ("", ".mp4", ".mpg", ".wav"):
            path = root / folder / f"{word}{suffix}"
            if path.is_file():
                return path
    return None


def pairs_of(
    cases: Sequence[Case], folder: Path, *, shuffled: bool, real: bool, own_offset: float | None
) -> list[Pair]:
    """What is to be made in a folder, and measured.

    Args:
        cases: what the corpus asks for.
        folder: where made videos go.
        shuffled: every video gets the sound of a clip half of the corpus away.
        real: the real videos themselves are judged.
        own_offset: of the real videos; None: measured.

    Raises DataError when there are too few clips to shuffle.
    """
    if shuffled and len(cases) < 2:
        raise DataError("shuffled speech needs two clips or more")
    pairs = []
    for index, case in enumerate(cases):
        other = cases[(index + max(1, len(cases) // 2)) % len(cases)]
        speech = other.speech if shuffled else case.speech
        reference = _whole(case.picture, folder)
        generated = reference if real else folder / "made" / f"{case.name}.mp4"
        is_spoken_elsewhere = shuffled or not case.is_paired
        pairs.append(
            Pair(
                case.name,
                reference,
                generated,
                own_offset,
                words=_whole(speech, folder) if is_spoken_elsewhere else None,
                is_paired=case.is_paired,
                cut_from=tuple(clip for clip in (case.picture, speech) if _is_part(clip)),
                is_made=not real,
            )
        )
    return pairs


def _is_part(clip: SourceClip) -> bool:
    return clip.region is not None or clip.start > 0 or clip.end != float("inf")


def _whole(clip: SourceClip, folder: Path) -> Path:
    """The clip as a file of its own; what is a part of a longer video is cut out there first."""
    return part_path(clip, folder) if _is_part(clip) else clip.path


def part_path(clip: SourceClip, folder: Path) -> Path:
    """Where a part of a longer video is kept."""
    return folder / "parts" / clip.speaker / f"{clip.name}.mp4"
