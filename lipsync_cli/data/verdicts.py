"""What the figures of a cache mean for a training: ok, a warning, or a problem, and what to do about it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np

from lipsync_cli.data.check import MOSTLY_SILENT, STILL, CacheFigures
from lipsync_cli.data.conventions import differing
from lipsync_cli.data.cut import FEWEST_FOR_OFFSET, LEAST_CONFIDENCE
from lipsync_cli.data.layout import FRAMES_PER_SECOND, ClipFacts
from lipsync_cli.data.verdict import SHOWN, Verdict, by_share, clip_name, examples, not_measured, part

LEAST_USABLE = 0.1
"""A cache with a smaller share of usable clips is useless."""
FEW_SPEAKERS = 20
FEW_HOURS = 1.0
TURNED = 45.0
"""Degrees, where a dub gives up a face (`--max-yaw`)."""
TILTED = 30.0
"""Degrees."""
SLOW = 24.0
"""Frames a second below which many frames are shown twice to reach 25 (23.976 repeats one a second)."""
SHORT = FEWEST_FOR_OFFSET / FRAMES_PER_SECOND
"""Seconds; offsets of shorter clips are not measured."""
MUCH_SILENCE = 0.5
"""Share of a clip."""
_SLACK = 0.1  # frames a second: 23.976 is no slow film


def judge(found: CacheFigures) -> list[Verdict]:
    """One verdict for each topic, the amount of clips first."""
    return [
        _amount(found),
        *_settings(found),
        *_damage(found),
        _left_out(found),
        _offsets(found),
        _confidence(found),
        _duplicates(found),
        _silence(found),
        _movement(found),
        _rate(found),
        _speakers(found),
        *_split(found),
        _yaw(found),
        _roll(found),
        _face_size(found),
        _lengths(found),
    ]


def n_usable(found: CacheFigures) -> int:
    """Clips that something can be learnt from."""
    return sum(not clip.trouble for clip in found.clips)


def is_useless(found: CacheFigures) -> bool:
    """Whether a training would be a waste of time."""
    return n_usable(found) < max(1.0, LEAST_USABLE * len(found.clips))


def _amount(found: CacheFigures) -> Verdict:
    hours = sum(clip.seconds for clip in found.clips) / 3600
    says = f"{n_usable(found)} of {len(found.clips)} clips are usable, {hours:.2f} hours in all"
    if is_useless(found):
        return Verdict("clips", "problem", says, "a training would be a waste of time; see the reasons below")
    if hours < FEW_HOURS:
        return Verdict(
            "clips", "warning", says, "enough to adapt to a person, not to learn speech: prepare more"
        )
    return Verdict("clips", "ok", says)


def _settings(found: CacheFigures) -> Iterator[Verdict]:
    others = differing(found.settings)
    if others:
        yield Verdict(
            "settings", "problem", f"made with {', '.join(others)}", "no training takes it: prepare it again"
        )


def _damage(found: CacheFigures) -> Iterator[Verdict]:
    damaged = [clip for clip in found.clips if clip.damage]
    if damaged:
        says = f"{part(len(damaged), len(found.clips))} cannot be read, the first: {damaged[0].damage}"
        yield Verdict("damage", "problem", says)


def _left_out(found: CacheFigures) -> Verdict:
    n_tried = len(found.left_out) + len(found.clips)
    says = f"{part(len(found.left_out), n_tried)} were left out by the preparation"
    if not found.left_out:
        return Verdict("left out", "ok", says)
    (reason, n), *_ = Counter(map(_kind, found.left_out.values())).most_common(1)
    advice = f"read the reasons in {found.cache / 'log.jsonl'}"
    says = f"{says}, {n} of them by '{reason}'"
    return by_share("left out", len(found.left_out) / n_tried, (0.2, 0.5), says, advice)


def _kind(reason: str) -> str:
    """A reason without the file's name and with N for its numbers."""
    without_file = re.sub(r"^\S*[/\\].*?: |^[^:]*\.\w{2,4}: ", "", reason)
    return re.sub(r"-?\d+(\.\d+)?", "N", without_file)


def _offsets(found: CacheFigures) -> Verdict:
    measured = [one for one in _facts(found) if one.offset is not None]
    if not measured:
        return not_measured("offsets", " with --offsets correct")
    judged = [clip for clip in found.whole if clip.offset is not None]
    off = [clip for clip in judged if abs(clip.offset or 0) > 1]
    corrected = sum(one.corrected for one in measured)
    says = (
        f"{len(off)} of {len(judged)} clips with a certain offset are off by more than a frame"
        f"{examples(off)}; {corrected} were corrected"
    )
    share = len(off) / max(len(judged), 1)
    return by_share("offsets", share, (0.02, 0.1), says, "prepare with --offsets correct, or drop them")


def _confidence(found: CacheFigures) -> Verdict:
    values = [one.confidence for one in _facts(found) if one.confidence is not None]
    if not values:
        return not_measured("confidence", " with --offsets correct")
    low = sum(value < LEAST_CONFIDENCE for value in values)
    says = (
        f"of {part(low, len(values))} the offset is uncertain (below {LEAST_CONFIDENCE}); median "
        f"{np.median(values):.2f}"
    )
    advice = "do these people speak, and is it their sound?"
    return by_share("confidence", low / len(values), (0.2, 0.5), says, advice)


def _duplicates(found: CacheFigures) -> Verdict:
    groups = [*found.copies, *found.same_sound]
    extra = sum(len(group) - 1 for group in found.copies)
    anew = sum(len(group) - 1 for group in found.same_sound)
    across = [group for group in groups if len({found.clips[place].speaker for place in group}) > 1]
    says = f"{extra} copies of other clips, {anew} with another clip's sound encoded anew"
    if across:
        shown = " = ".join(clip_name(found.clips[place]) for place in across[0][:2])
        return Verdict(
            "duplicates",
            "problem",
            f"{says}; {len(across)} times under two speakers ({shown})",
            "one may be trained on while the other is validated on: remove them",
        )
    if groups:
        says += f" ({' = '.join(clip_name(found.clips[place]) for place in groups[0][:2])})"
    share = (extra + anew) / len(found.clips)
    return by_share("duplicates", share, (0.0, 0.2), says, "remove them: they weigh double")


def _silence(found: CacheFigures) -> Verdict:
    shares = [clip.silence for clip in found.whole]
    silent = [clip for clip in found.whole if clip.silence > MOSTLY_SILENT]
    mean = float(np.mean(shares)) if shares else 0.0
    says = (
        f"{100 * mean:.0f} % of the sound is pauses; "
        f"{part(sum(share > MUCH_SILENCE for share in shares), len(shares))} are silent for more than half"
        f"{examples(silent, 'wholly')}"
    )
    advice = "silence fits any closed mouth: cut long pauses before preparing"
    return by_share("silence", mean, (0.3, 0.6), says, advice)


def _movement(found: CacheFigures) -> Verdict:
    still = [clip for clip in found.whole if clip.movement < STILL and clip.silence <= MOSTLY_SILENT]
    says = f"in {part(len(still), len(found.whole))} the mouth hardly moves while there is sound"
    says += examples(still)
    share = len(still) / max(len(found.whole), 1)
    return by_share("movement", share, (0.02, 0.3), says, "are these the people who speak? remove them")


def _rate(found: CacheFigures) -> Verdict:
    rates = [one.rate for one in _facts(found)]
    if not rates:
        return not_measured("fps")
    slow = sum(rate < SLOW - _SLACK for rate in rates)
    low, middle, high = np.percentile(rates, [0, 50, 100])
    says = f"{low:.2f} to {high:.2f}, median {middle:.2f}; {part(slow, len(rates))} are slower than {SLOW:g}"
    advice = "mouths stand still in frames that are repeated: drop them"
    return by_share("fps", slow / len(rates), (0.02, 0.3), says, advice)


def _speakers(found: CacheFigures) -> Verdict:
    (name, most), *_ = found.speakers.most_common(1)
    n = len(found.speakers)
    share = most / len(found.clips)
    says = f"{n}, the largest ({name}) with {part(most, len(found.clips))}"
    if n == 1:
        return Verdict(
            "speakers", "warning", says, "nobody can be kept out for validation, nor voices be told apart"
        )
    if n < FEW_SPEAKERS:
        advice = "faces and voices are learnt by heart: prepare more, or raise picture.* and voice.*"
        return Verdict("speakers", "warning", says, advice)
    if share > 0.25:
        return Verdict("speakers", "warning", says, "lower corpus.balance, so that others are drawn as often")
    return Verdict("speakers", "ok", says)


def _split(found: CacheFigures) -> Iterator[Verdict]:
    for each in found.kept_out:
        n = len(each.shared)
        if n:
            shown = ", ".join(each.shared[:SHOWN])
            says = f"{n} of {len(found.speakers)} speakers are in {each.source} too ({shown})"
            yield Verdict(
                "split", "problem", says, "figures on people who were trained on mean little: take them out"
            )
        elif each.listed:
            says = f"all clips of {len(each.listed)} speakers are on the list {each.source}"
            advice = f"name them in corpus.validation_speakers: {', '.join(each.listed[:SHOWN])} ..."
            yield Verdict("split", "ok", says, advice)
        else:
            yield Verdict("split", "ok", f"no speaker is in {each.source} too")


def _yaw(found: CacheFigures) -> Verdict:
    turned = [clip for clip in found.whole if clip.yaw > TURNED]
    says = f"in {part(len(turned), len(found.whole))} the head is turned by more than {TURNED:g} degrees"
    says += examples(turned)
    share = len(turned) / max(len(found.whole), 1)
    return by_share("turn", share, (0.1, 0.5), says, "mouths in profile are hard to learn: drop them")


def _roll(found: CacheFigures) -> Verdict:
    rolls = [one.roll for one in _facts(found) if one.roll is not None]
    if not rolls:
        return not_measured("tilt")
    tilted = sum(abs(roll) > TILTED for roll in rolls)
    says = f"in {part(tilted, len(rolls))} the head is tilted by more than {TILTED:g} degrees"
    advice = "is the picture turned? see its rotation tag"
    return by_share("tilt", tilted / len(rolls), (0.1, 0.5), says, advice)


def _face_size(found: CacheFigures) -> Verdict:
    widths = [one.face_width for one in _facts(found)]
    if not widths:
        return not_measured("face size")
    size = found.settings.image_size
    small = sum(width < size / 2 for width in widths)
    says = (
        f"{np.median(widths):.0f} pixels (median), crops {size}; {part(small, len(widths))} are enlarged "
        "more than twice"
    )
    advice = "blurred mouths are learnt as such: drop them, or prepare with a smaller --image-size"
    return by_share("face size", small / len(widths), (0.1, 0.5), says, advice)


def _lengths(found: CacheFigures) -> Verdict:
    seconds = [clip.seconds for clip in found.whole]
    short = sum(one < SHORT for one in seconds)
    low, middle, high = np.percentile(seconds, [0, 50, 100]) if seconds else (0.0, 0.0, 0.0)
    says = (
        f"{low:.1f} to {high:.1f} s, median {middle:.1f}; {part(short, len(seconds))} are below {SHORT:g} s"
    )
    advice = "their offset is not measured, and references resemble targets"
    return by_share("lengths", short / max(len(seconds), 1), (0.3, 0.9), says, advice)


def _facts(found: CacheFigures) -> list[ClipFacts]:
    return [clip.facts for clip in found.whole if clip.facts is not None]
