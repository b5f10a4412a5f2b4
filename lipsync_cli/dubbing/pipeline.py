"""A dub: watch the video once to find the face, then stream it through the stages. Memory stays flat."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from fractions import Fraction

import numpy as np

from lipsync_cli.dubbing import restoration, stages
from lipsync_cli.dubbing.first_pass_cache import FirstPassCache
from lipsync_cli.dubbing.job import DubCounts, DubSettings, Progress
from lipsync_cli.dubbing.parts import DubParts, Speaker
from lipsync_cli.dubbing.references import References
from lipsync_cli.dubbing.schedule import Plan, schedule
from lipsync_cli.dubbing.showing import Showing, showing
from lipsync_cli.dubbing.stages import DubFrame
from lipsync_cli.dubbing.stored_references import StoredReferences
from lipsync_cli.dubbing.tally import Tally
from lipsync_cli.dubbing.watch import Watched, watch
from lipsync_cli.dubbing.work_folder import WorkFolder
from lipsync_cli.errors import FaceError
from lipsync_cli.faces.track import FaceTrack
from lipsync_cli.interfaces import Frame, FrameSink, Speech, VideoInfo
from lipsync_cli.nameless_file import NamelessFile
from lipsync_cli.speech.pauses import HushedSpeech, Spans

STILL_RATE = Fraction(25)
"""Frames a second of a dubbed still picture."""
REFERENCE_SECONDS = 10.0
"""At least so much of the video is watched, however short the speech: a shot's references come from it."""
_BATCH_BYTES = 50_000_000
"""Whole pictures that wait for the generator take about this much memory, and as much those behind it."""
_CHUNK = 250
"""Frames, at least, that are finished together: the usual distance of key frames."""
_NO_PICTURE = np.zeros((0, 0, 3), np.uint8)


def dub(
    parts: DubParts,
    open_sink: Callable[[Fraction], FrameSink],
    settings: DubSettings,
    progress: Progress | None = None,
    *,
    work: WorkFolder | None = None,
    cache: FirstPassCache | None = None,
) -> DubCounts:
    """Make the faces in the stream say their speech, frame by frame into the sink.

    open_sink: frame rate -> the sink; called after the video was watched. FaceError when no frame has the
    face that was asked for, or one has none where `missing_face` says fail; the sink is then never opened.
    Frames without a face come out as the same array that came in.
    work: where a dub that was stopped left what it had done; then the sink gets only the frames after that.
    cache: what earlier dubs saw of the same video.
    """
    report = progress or _nobody
    seconds = math.inf if settings.shorter == "keep" else max(parts.longest, REFERENCE_SECONDS)
    stores = [store for store in (work, cache) if store is not None]
    folder = None if work is None else work.path
    with ExitStack() as stack:
        file = stack.enter_context(NamelessFile(folder))
        watched = tuple(
            seen.with_outlines_in(file)
            for seen in _watched(
                parts, report, seconds, stores, lambda: stack.enter_context(StoredReferences(folder))
            )
        )
        rate = STILL_RATE if watched[0].is_still else parts.stream.info.rate
        plan = _plan(parts, watched[0].track, rate, settings)
        _check(parts, watched, plan, may_miss=settings.missing_face == "pass")
        tally = Tally(watched[0].track.shot_starts)
        n_kept = 0 if work is None else work.n_kept
        for item in _kept(parts, watched, plan[:n_kept], settings):
            tally.add(item)
        parts.drawing()  # what is wrong with it is told before the output is opened
        sink = stack.enter_context(open_sink(rate))
        frames = stages.fit(parts.stream, plan, first=n_kept)
        for item in _second_pass(frames, parts, watched, settings, stack):
            sink.write(item.frame)
            tally.add(item)
            report("dub", item.frame.index + 1, len(plan))
        shots = int(watched[0].track.shot_starts[: _n_used(plan)].sum())
        return DubCounts(
            frames=len(plan),
            dubbed=tally.n_dubbed,
            passed_through=len(plan) - tally.n_dubbed,
            statuses=tuple(tally.runs),
            cuts=tuple(tally.cuts),
            shots=shots,
            silenced_references=sum(seen.references.n_silenced(shots) for seen in watched),
            video_seconds=plan[-1][1] + float(1 / rate),
        )


def frames_in_batch(info: VideoInfo, settings: DubSettings) -> int:
    """Frames that are drawn at once: whole windows, where there is more than one."""
    return stages.in_windows(
        min(settings.batch, max(stages.WINDOW, _BATCH_BYTES // (3 * info.width * info.height)))
    )


def frames_in_chunk(info: VideoInfo, settings: DubSettings) -> int:
    """Frames that are finished together: whole batches, because a network's rounding depends on its batch."""
    batch = frames_in_batch(info, settings)
    return batch * math.ceil(_CHUNK / batch)


def _watched(
    parts: DubParts,
    progress: Progress,
    seconds: float,
    stores: Sequence[WorkFolder | FirstPassCache],
    open_references: Callable[[], StoredReferences],
) -> tuple[Watched, ...]:
    """What an earlier run saw of the same video, or else what this one sees; afterwards all stores know."""
    seen: tuple[Watched, ...] | None = None
    empty: list[WorkFolder | FirstPassCache] = []
    for store in stores:
        seen = store.load(
            Watched, FaceTrack, References, mapping=lambda found: open_references().filled(found)
        )
        if seen is not None:
            break
        empty.append(store)
    seen = seen or watch(parts, progress, seconds, open_references)
    for store in empty:
        store.save(seen)
    return seen


def _plan(parts: DubParts, track: FaceTrack, rate: Fraction, settings: DubSettings) -> Plan:
    """Source frame and time of every frame of the output."""
    return Plan(
        schedule(
            track.times,
            duration=parts.longest,
            step=float(1 / rate),
            longer=settings.longer,
            keep=settings.shorter == "keep",
        )
    )


def _n_used(plan: Plan) -> int:
    """Frames of the video, from its first, of which some are in the output."""
    return int(plan.sources.max()) + 1


def _check(parts: DubParts, watched: tuple[Watched, ...], plan: Plan, *, may_miss: bool) -> None:
    """FaceError where a speaker's face is missing."""
    for speaker, seen in zip(parts.speakers, watched, strict=True):
        problem = _missing(seen.track, plan, speaker.name, may_miss=may_miss)
        if problem:
            raise FaceError(f"{parts.stream.info.path}: {problem}")


def _missing(track: FaceTrack, plan: Plan, name: str, *, may_miss: bool) -> str:
    """What is wrong where a face is never there, or not in every frame and has to be; else empty."""
    n_used = _n_used(plan)
    face = f"face '{name}'" if name else "face"
    if not track.present[:n_used].any():
        return (
            f"no {face} in any of the {n_used} frames that the speech lasts for; use a video that shows the "
            "speaker's face"
        )
    lost = [time for source, time in plan if source >= len(track) or not track.present[source]]
    if may_miss or not lost:
        return ""
    return (
        f"no {face} in {len(lost)} of {len(plan)} frames, first at {lost[0]:.2f} s; without --missing-face "
        "fail they pass through unchanged"
    )


def _kept(
    parts: DubParts, watched: tuple[Watched, ...], plan: Plan, settings: DubSettings
) -> Iterator[DubFrame]:
    """What became of frames that an earlier run finished; without their pictures."""
    frames: Iterator[DubFrame] = (
        DubFrame(Frame(index, time, _NO_PICTURE), source=source) for index, (source, time) in enumerate(plan)
    )
    for speaker, pauses, seen in zip(parts.speakers, parts.drawing().pauses, watched, strict=True):
        frames = stages.mark(frames, seen.track, _shown(parts, (speaker, pauses, seen), settings))
    return frames


def _shown(parts: DubParts, who: tuple[Speaker, Spans, Watched], settings: DubSettings) -> Showing:
    """When the generated mouth of a speaker shows."""
    speaker, pauses, watched = who
    is_over = settings.shorter == "keep" or speaker.duration < parts.longest
    end = speaker.duration if is_over else math.inf
    return showing(watched.track, settings, pauses=pauses, end=end)


def _second_pass(
    frames: Iterator[DubFrame],
    parts: DubParts,
    watched: tuple[Watched, ...],
    settings: DubSettings,
    stack: ExitStack,
) -> Iterator[DubFrame]:
    """All stages, joined: one speaker after the other; decoding runs in a thread that ends with the stack."""

    def all_speak(frames: Iterator[DubFrame]) -> Iterator[DubFrame]:
        drawing = parts.drawing()
        for who in zip(parts.speakers, drawing.speeches, drawing.pauses, watched, strict=True):
            frames = _one_speaks(frames, parts, who, settings, stack)
        return frames

    return stages.beside(frames, all_speak) if settings.side_by_side else all_speak(frames)


def _one_speaks(
    frames: Iterator[DubFrame],
    parts: DubParts,
    who: tuple[Speaker, Speech, Spans, Watched],
    settings: DubSettings,
    stack: ExitStack,
) -> Iterator[DubFrame]:
    """The stages of one speaker; what comes before them, and drawing, each run in a thread of their own."""
    speaker, speech, pauses, watched = who
    drawing = parts.drawing()
    batch = frames_in_batch(parts.stream.info, settings)
    track, references = watched.track, watched.references
    shown = _shown(parts, (speaker, pauses, watched), settings)
    frames = stages.crop(frames, track, watched.shots, references, shown)
    frames = stack.enter_context(closing(stages.ahead(frames)))
    hushed = HushedSpeech(speech, pauses)
    frames = stages.speak(frames, drawing.talking_face, hushed, references, batch=batch)
    if drawing.restorer is not None:
        frames = restoration.restore(
            frames,
            drawing.restorer,
            track,
            strength=settings.restore_strength,
            memory=settings.restore_memory,
            restart=frames_in_chunk(parts.stream.info, settings),
        )
    elif settings.restore == "light":
        frames = restoration.borrow(frames, settings.restore_strength)
    frames = stack.enter_context(closing(stages.ahead(frames, batch)))
    return stages.paste(frames, track)


def _nobody(stage: str, done: int, total: int) -> None:
    """For callers who do not ask for progress."""
