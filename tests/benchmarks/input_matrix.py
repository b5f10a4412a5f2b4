"""Dubs made and real inputs of all kinds by the real program and tells, as a table, what came of each.

    python tests/benchmarks/input_matrix.py [--out matrix.md] [--clips ../shared/data/clips] [--only WORD]

Each made input shows the demo's portrait with a corner that flashes for one frame; the speech clicks at the
same time. Real clips are encoded anew in odd ways. Looked at in the output: exit code, number of frames,
length, by how much click and flash are apart (positive: the picture comes late) against where they belong,
and, of real clips, how much the top rows of the picture, which are no face, differ from the decoded source. A
small untrained generator draws: only media are judged here. Needs the ffmpeg program, to make the inputs.
Exit code 1 when an outcome is not as expected.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile

from lipsync_cli.cli import app
from lipsync_cli.media.audio import load_waveform
from lipsync_cli.media.reader import VideoReader
from lipsync_cli.models.warping_generator import (
    SpeechEncoderSettings,
    WarpingFaceGenerator,
    WarpingGeneratorSettings,
)
from lipsync_cli.registry.checkpoint import save_checkpoint
from lipsync_cli.settings import to_mapping

ROOT = Path(__file__).resolve().parents[2]
FFMPEG = ("ffmpeg", "-nostdin", "-v", "error", "-y")
SECONDS = 0.8
CLICK = 0.48
H264 = "-c:v libx264 -preset ultrafast -bf 2 -pix_fmt yuv420p"
MOST_OFFSET = 0.005
_SAME_TIME = 0.002
"""Seconds: Matroska rounds."""
LEAST_PSNR = 33.0
"""dB, at the default quality and the fastest preset; wrong colours or another frame have 25 and less."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One input and what is expected of it."""

    name: str
    file: str = "in.mp4"
    rate: str = "25"
    encode: str = H264
    filters: str = ""
    seconds: float = 1.0
    speech: str = "speech.wav"
    flags: tuple[str, ...] = ()
    code: int = 0
    synced: bool = True
    """Whether the flash is to be looked for."""
    shift: float = 0.0
    """Seconds that the picture is expected to be late (negative: early) by its own making."""
    made: str = ""
    """A file that is there already or is made by hand: its name."""
    lasts: float | None = None
    """Seconds; the speech's where it is None."""
    clip: Path | None = None
    """A real clip to encode, in place of the portrait; then colours are looked at, not the flash."""
    copied: str = ""
    """ffmpeg's arguments of a second step, which copies: `IN` stands for the first one's file."""
    least_psnr: float = LEAST_PSNR
    bytes_kept: float = 1.0
    """Share of the file's bytes."""
    damaged: bool = False
    """Some bytes behind the first tenth are others."""


EXIF = {
    "exif2.jpg": "hflip",
    "exif3.jpg": "hflip,vflip",
    "exif4.jpg": "vflip",
    "exif5.jpg": "transpose=cclock_flip",
    "exif6.jpg": "transpose=cclock",
    "exif7.jpg": "transpose=clock_flip",
    "exif8.jpg": "transpose=clock",
}
"""Photos that lie in another way, and how; EXIF says how they are to be shown."""
RATES = ("24000/1001", "24", "25", "30000/1001", "30", "50", "60000/1001", "12.5", "120")
FFMPEG_BACKEND = ("--backend", "ffmpeg")
CODECS = {
    "HEVC": ("in.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=error -pix_fmt yuv420p"),
    "HEVC 10 bit": (
        "in.mkv",
        "-c:v libx265 -preset ultrafast -x265-params log-level=error -pix_fmt yuv420p10le",
    ),
    "H.264 10 bit": ("in.mp4", "-c:v libx264 -preset ultrafast -pix_fmt yuv420p10le"),
    "H.264 4:2:2": ("in.mp4", "-c:v libx264 -preset ultrafast -pix_fmt yuv422p"),
    "H.264 4:4:4": ("in.mp4", "-c:v libx264 -preset ultrafast -pix_fmt yuv444p"),
    "VP8": ("in.webm", "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 2M"),
    "VP9": ("in.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 2M"),
    "VP9 with alpha": ("in.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 2M -pix_fmt yuva420p"),
    "AV1": ("in.mkv", "-c:v libsvtav1 -preset 12"),
    "MPEG-2 in TS": ("in.ts", "-c:v mpeg2video -q:v 3 -bf 2"),
    "H.264 in TS": ("in.ts", H264),
    "MPEG-2, interlaced": ("in.mpg", "-c:v mpeg2video -q:v 3 -flags +ildct+ilme"),
    "MPEG-4 in AVI": ("in.avi", "-c:v mpeg4 -q:v 3 -bf 1"),
    "H.264 in FLV": ("in.flv", H264),
    "ProRes": ("in.mov", "-c:v prores_ks -profile:v 2"),
    "ProRes 4444 with alpha": ("in.mov", "-c:v prores_ks -profile:v 4 -pix_fmt yuva444p10le"),
    "Animation, ARGB": ("in.mov", "-c:v qtrle -pix_fmt argb"),
    "Motion JPEG, full range": ("in.avi", "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p"),
    "FFV1, RGB": ("in.mkv", "-c:v ffv1 -pix_fmt bgr0"),
    "Theora": ("in.ogv", "-c:v libtheora -q:v 8"),
    "GIF": ("in.gif", ""),
    "grey": ("in.mkv", "-c:v ffv1 -pix_fmt gray"),
    "H.264, full range": ("in.mp4", "-c:v libx264 -preset ultrafast -pix_fmt yuvj420p"),
    "H.264, BT.709 tagged": ("in.mp4", f"{H264} -colorspace bt709 -color_primaries bt709 -color_trc bt709"),
    "HEVC, BT.2020 HLG, 10 bit": (
        "in.mp4",
        "-c:v libx265 -preset ultrafast -x265-params log-level=error -pix_fmt yuv420p10le "
        "-colorspace bt2020nc -color_primaries bt2020 -color_trc arib-std-b67",
    ),
}


def cases(clips: Path) -> Iterator[Case]:
    yield from cases_of_format()
    yield from cases_of_time()
    yield from cases_of_size_and_sound()
    for name in (
        "empty.mp4",
        "text.mp4",
        "cut.mp4",
        "sound.mp3",
        "cover.mp3",
        "folder",
        "fifo",
        "absent.mp4",
    ):
        yield Case(name=f"bad: {name}", made=name, synced=False, code=3)
    yield Case(name="bad: encrypted", made="encrypted.mp4", synced=False, code=3)
    yield Case(name="bad: 10000x10", filters="scale=10000:10", synced=False, code=4)
    real = [clip for clip in sorted(clips.glob("*.mp4")) if "noface" not in clip.name]
    for clip in real:
        yield Case(name=f"real: {clip.name}", made=str(clip), clip=clip, synced=False)
    if real:
        yield from cases_of_real_clips(*(clip for clip in real if clip.name in REAL))


REAL = ("lipify_colors6.mp4", "obama_weekly_address.mp4")
WHOLE_MACROBLOCKS = "scale=trunc(iw/32)*32:trunc(ih/32)*32"
X265 = "-c:v libx265 -preset ultrafast -x265-params log-level=error"
HLG = "-pix_fmt yuv420p10le -colorspace bt2020nc -color_primaries bt2020 -color_trc arib-std-b67"
ODD_ENCODINGS: dict[str, dict[str, object]] = {
    "phone: HEVC 10 bit HLG, turned 90, edit list": {
        "filters": "transpose=clock",
        "encode": f"{X265} {HLG} -tag:v hvc1",
        "copied": "-ss 0.2 -i IN -c copy -metadata:s:v:0 rotate=90",
        "flags": ("--codec", "hevc"),
    },
    "phone: H.264 turned 270, variable rate": {
        "filters": "transpose=cclock,select='not(eq(mod(n,5),1)+eq(mod(n,7),2))'",
        "encode": f"{H264} -fps_mode vfr",
        "copied": "-i IN -c copy -metadata:s:v:0 rotate=270",
    },
    "H.264, interlaced, 59.94 fields": {
        "filters": f"{WHOLE_MACROBLOCKS},fps=60000/1001,tinterlace=interleave_top,fieldorder=tff",
        "encode": f"{H264} -flags +ildct+ilme",
    },
    "MPEG-2 in TS, wide pixels": {
        "file": "in.ts",
        "filters": "scale=720:576,setsar=64/45",
        "encode": "-c:v mpeg2video -q:v 3 -bf 2",
    },
    "MPEG-2 in TS, cut off": {
        "file": "in.ts",
        "encode": "-c:v mpeg2video -q:v 3 -bf 2",
        "bytes_kept": 0.7,
    },
    "Motion JPEG in AVI": {"file": "in.avi", "encode": "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p"},
    "VP9 with alpha": {
        "file": "in.webm",
        "encode": "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 3M -pix_fmt yuva420p",
    },
    "AV1, 10 bit": {"file": "in.mkv", "encode": "-c:v libsvtav1 -preset 12 -pix_fmt yuv420p10le"},
    "59.94 fps": {"filters": "fps=60000/1001"},
    "H.264 10 bit, 4:2:2": {
        "file": "in.mkv",
        "encode": "-c:v libx264 -preset ultrafast -pix_fmt yuv422p10le",
    },
    "ProRes HQ": {"file": "in.mov", "encode": "-c:v prores_ks -profile:v 3", "flags": ("--codec", "hevc")},
    "full range, BT.709": {
        "filters": "scale=out_range=full:out_color_matrix=bt709",
        "encode": "-c:v libx264 -preset ultrafast -pix_fmt yuvj420p -colorspace bt709 -color_range pc",
    },
    "H.264 without a container": {"file": "in.h264"},
    "HEVC without a container": {"file": "in.hevc", "encode": X265},
    "fragmented mp4": {"encode": f"{H264} -movflags frag_keyframe+empty_moov"},
    "MKV without a duration": {"file": "in.mkv", "encode": f"{H264} -f matroska -live 1"},
    "damaged: a byte in 5000": {"file": "in.ts", "encode": f"{H264} -g 12", "damaged": True},
    "H.263 in 3GP, 176x144": {"file": "in.3gp", "filters": "scale=176:144", "encode": "-c:v h263 -q:v 3"},
    "WMV": {"file": "in.wmv", "encode": "-c:v wmv2 -q:v 3"},
    # A GIF's colours are dithered: 4:2:0 alone, without an encoder, leaves 17 dB of that.
    "GIF": {"file": "in.gif", "filters": "fps=12.5", "encode": "", "least_psnr": 15.0},
    "animated PNG": {"file": "in.apng", "filters": "fps=12.5", "encode": "-f apng"},
    "animated WebP": {"file": "in.webp", "filters": "fps=12.5", "encode": "-c:v libwebp_anim", "code": 3},
    "ffmpeg backend": {"flags": ("--backend", "ffmpeg")},
    "ffmpeg backend, deinterlaced": {
        "filters": f"{WHOLE_MACROBLOCKS},fps=60000/1001,tinterlace=interleave_top,fieldorder=tff",
        "encode": f"{H264} -flags +ildct+ilme",
        "flags": ("--backend", "ffmpeg", "--filter", "yadif"),
    },
    "to Matroska": {"flags": ("-o", "out.mkv")},
}


def cases_of_real_clips(*clips: Path) -> Iterator[Case]:
    for place, (name, how) in enumerate(ODD_ENCODINGS.items()):
        clip = clips[place % len(clips)]
        yield Case(name=f"{clip.stem}: {name}", clip=clip, synced=False, **how)  # type: ignore[arg-type]


def cases_of_format() -> Iterator[Case]:
    for rate in RATES:
        yield Case(name=f"{rate} fps", rate=rate)
    for rate in ("24000/1001", "60000/1001"):
        yield Case(name=f"{rate} fps, ffmpeg", rate=rate, flags=FFMPEG_BACKEND)
    for name, (file, encode) in CODECS.items():
        yield Case(name=name, file=file, encode=encode)
    for name in ("HEVC 10 bit", "MPEG-2 in TS", "VP9 with alpha"):
        yield Case(name=f"{name}, ffmpeg", file=CODECS[name][0], encode=CODECS[name][1], flags=FFMPEG_BACKEND)


def cases_of_time() -> Iterator[Case]:
    drop = "select='not(eq(mod(n,5),1)+eq(mod(n,7),2))'"
    yield Case(name="variable rate", filters=drop, encode=f"{H264} -fps_mode vfr")
    yield Case(
        name="variable rate, ffmpeg", filters=drop, encode=f"{H264} -fps_mode vfr", flags=FFMPEG_BACKEND
    )
    yield Case(name="starts at 1.7 s in MKV", file="in.mkv", encode=f"{H264} -output_ts_offset 1.7")
    yield Case(name="starts at 900 s in TS", file="in.ts", encode=f"{H264} -output_ts_offset 900")
    yield Case(name="edit list cuts 0.2 s", made="edited.mp4", shift=-0.2)
    yield Case(name="picture begins 0.84 s after the sound", made="late.mkv", synced=False)
    for degrees in (90, 180, 270):
        yield Case(name=f"turned {degrees}", made=f"turned{degrees}.mp4")
    yield Case(name="turned 90, ffmpeg", made="turned90.mp4", flags=FFMPEG_BACKEND)


def cases_of_size_and_sound() -> Iterator[Case]:
    yield Case(
        name="319x321", filters="scale=319:321", encode="-c:v libx264 -preset ultrafast -pix_fmt yuv444p"
    )
    yield Case(name="wide pixels (16:15)", filters="setsar=16/15")
    yield Case(name="4K", filters="scale=3840:2160", seconds=0.6, lasts=SECONDS)
    yield Case(name="96x96", filters="scale=96:96")
    for longer in ("loop", "pingpong", "hold"):
        yield Case(name=f"video of 0.6 s, {longer}", seconds=0.6, flags=("--longer", longer))
    yield Case(name="video of 0.6 s, trim", seconds=0.6, flags=("--longer", "trim"), lasts=0.6)
    yield Case(name="video of 2 s, keep", seconds=2.0, flags=("--shorter", "keep"), lasts=2.0)
    yield Case(name="one frame", seconds=0.04, synced=False)
    for name in ("still.jpg", "still.png", "clear.png", *EXIF, "still.webp"):
        yield Case(name=f"still {name}", made=name, synced=False)
    for name in ("speech.mp3", "speech.m4a", "speech.ogg", "speech51.flac", "speech51.m4a", "speech8k.wav"):
        yield Case(name=f"sound {name}", speech=name)
    yield Case(name="two faces", filters="scale=160:160,tile=1x1,split[a][b];[a][b]hstack", synced=False)
    yield Case(name="no face", filters="hue=b=-10,drawbox=w=iw:h=ih:c=gray:t=fill", synced=False, code=4)
    yield Case(name="the name -a 'b' \"c\" ü日.mp4", file="-a 'b' \"c\" ü日.mp4")
    yield Case(name="HEVC out", flags=("--codec", "hevc"))


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run([*FFMPEG, *map(str, arguments)], check=True)


def prepare(folder: Path) -> None:
    """The speech in several formats, pictures, and the inputs that are made by hand."""
    rng = np.random.default_rng(0)
    sound = np.zeros(round(SECONDS * 48_000), np.float32)
    first = round(CLICK * 48_000)
    sound[first : first + 480] = 0.9 * np.sign(rng.standard_normal(480))
    soundfile.write(folder / "speech.wav", sound, 48_000)
    tiny = WarpingGeneratorSettings(
        widths=(4, 4, 4, 4),
        bottleneck_depth=1,
        speech=SpeechEncoderSettings(step_width=4, width=8, outputs=8),
    )
    network = WarpingFaceGenerator(tiny)
    save_checkpoint(
        folder / "tiny.safetensors", network, architecture="warping_generator", settings=to_mapping(tiny)
    )
    portrait = ROOT / "weights" / "demo" / "portrait.jpg"
    square = "crop='min(iw,ih)':'min(iw,ih)':0:0,scale=320:320"
    for name in ("still.png", "still.jpg", "still.webp"):
        ffmpeg("-i", portrait, "-vf", square, "-frames:v", "1", folder / name)
    ffmpeg("-i", folder / "still.png", "-vf", "format=rgba,colorchannelmixer=aa=0.8", folder / "clear.png")
    for number, (name, lies) in enumerate(EXIF.items(), start=2):
        turned = folder / "turned.jpg"
        ffmpeg("-i", folder / "still.png", "-vf", lies, turned)
        exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0%c\0\0\0\0\0\0" % number
        data = turned.read_bytes()
        (folder / name).write_bytes(
            data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]
        )
    for name in ("speech.mp3", "speech.m4a", "speech.ogg", "sound.mp3"):
        ffmpeg("-i", folder / "speech.wav", folder / name)
    ffmpeg("-i", folder / "speech.wav", "-ar", "8000", folder / "speech8k.wav")
    for name in ("speech51.flac", "speech51.m4a"):
        ffmpeg("-i", folder / "speech.wav", "-af", "pan=5.1|FC=c0", folder / name)
    prepare_by_hand(folder)


def prepare_by_hand(folder: Path) -> None:
    plain = make(Case(name="plain", encode=f"{H264} -g 5"), folder)
    ffmpeg("-ss", "0.2", "-i", plain, "-c", "copy", folder / "edited.mp4")
    ffmpeg(
        "-itsoffset", "0.84", "-i", plain, "-i", folder / "speech.wav", "-c:v", "copy", folder / "late.mkv"
    )
    for degrees in (90, 180, 270):
        lies = {90: "transpose=clock", 180: "hflip,vflip", 270: "transpose=cclock"}[degrees]
        lying = make(Case(name="lying", file="lying.mp4", filters=lies), folder)
        ffmpeg(
            "-i", lying, "-c", "copy", "-metadata:s:v:0", f"rotate={degrees}", folder / f"turned{degrees}.mp4"
        )
    ffmpeg(
        "-i", folder / "speech.wav", "-i", folder / "still.jpg", "-map", "0", "-map", "1", "-c:v", "copy",
        "-disposition:v", "attached_pic", folder / "cover.mp3",
    )  # fmt: skip
    key = "00112233445566778899aabbccddeeff"
    ffmpeg(
        "-i", plain, "-c", "copy", "-encryption_scheme", "cenc-aes-ctr", "-encryption_key", key,
        "-encryption_kid", key, folder / "encrypted.mp4",
    )  # fmt: skip
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("These are words.\n" * 50)
    (folder / "cut.mp4").write_bytes(plain.read_bytes()[:2000])
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")


def make(case: Case, folder: Path) -> Path:
    """Encode the case's input."""
    if case.made:
        return folder / case.made
    path = folder / case.file
    if case.clip is not None:
        return make_of_clip(case, case.clip, path)
    rate = Fraction(case.rate)
    flash = round(CLICK * rate)
    box = "drawbox=x=0:y=0:w=56:h=56:t=fill"
    chain = f"{box}:c=black,{box}:c=white:enable='eq(n,{flash})'" + (
        f",{case.filters}" if case.filters else ""
    )
    n_frames = max(1, round(case.seconds * rate))
    ffmpeg(
        "-framerate", case.rate, "-loop", "1", "-i", folder / "still.png",
        "-filter_complex" if ";" in chain else "-vf", chain, "-frames:v", str(n_frames), *case.encode.split(),
        path.absolute(),
    )  # fmt: skip
    return path


def make_of_clip(case: Case, clip: Path, path: Path) -> Path:
    """Encode one second of a real clip; the sound goes along where the format has a place for it."""
    first = path.with_name(f"first{path.suffix}") if case.copied else path
    filters = ("-vf", case.filters) if case.filters else ()
    ffmpeg("-t", "1.2", "-i", clip, *filters, "-an", *case.encode.split(), first)
    if case.copied:
        ffmpeg(*(str(first) if word == "IN" else word for word in case.copied.split()), path)
    stored = np.fromfile(path, np.uint8)
    if case.damaged:
        places = np.random.default_rng(0).integers(len(stored) // 10, len(stored), len(stored) // 5000)
        stored[places] ^= 0xFF
    stored[: int(case.bytes_kept * len(stored))].tofile(path)
    return path


@dataclass(frozen=True)
class Outcome:
    code: int
    said: str
    n_frames: int = 0
    length: float = 0.0
    rate: float = 25.0
    offset: float | None = None
    psnr: float | None = None
    seconds: float = 0.0


def dub(case: Case, folder: Path, path: Path) -> Outcome:
    output = folder / "out" / (case.flags[-1] if "-o" in case.flags else "out.mp4")
    shutil.rmtree(output.parent, ignore_errors=True)
    output.parent.mkdir()
    source = Path("-a 'b' \"c\" ü日.mp4") if case.file.startswith("-") else path
    chosen = case.flags[:-2] if "-o" in case.flags else case.flags
    flags = ("--model", str(folder / "tiny.safetensors"), "--preset", "ultrafast", *chosen)
    arguments = ["dub", *flags, "-o", str(output), "--", str(source), str(folder / case.speech)]
    begin, code, told = time.perf_counter(), 0, io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told), contextlib.chdir(folder):
        try:
            app.main(arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
    seconds = time.perf_counter() - begin
    if code:
        left = list(output.parent.iterdir())
        return Outcome(code, told.getvalue().strip() + (f" LEFT {left}" if left else ""))
    reader = VideoReader(output)
    frames, corners = [], []
    for frame in reader:
        frames.append(frame.time)
        corners.append(brightest_corner(frame.image))
    offset = None
    if case.synced:
        sound = np.abs(load_waveform(output, 48_000).samples)
        click = float(np.argmax(sound > 0.5 * sound.max())) / 48_000
        flash = round(CLICK * Fraction(case.rate)) / Fraction(case.rate)
        ideal = float(flash) - CLICK + case.shift
        offset = frames[int(np.argmax(corners))] - click - ideal
    info = reader.info
    psnr = None if case.clip is None or "--filter" in case.flags else psnr_of_the_top(path, output)
    rate = float(info.rate)
    return Outcome(0, told.getvalue().strip(), len(frames), info.duration, rate, offset, psnr, seconds)


def psnr_of_the_top(source: Path, output: Path) -> float:
    """dB, of the upper eighth of the first frames, each against the one that the source shows at its time."""
    errors = []
    filmed = list(islice(VideoReader(source), 10))
    for after in islice(VideoReader(output), 10):
        before = [frame for frame in filmed if frame.time <= after.time + _SAME_TIME or frame is filmed[0]][
            -1
        ]
        height, width = len(before.image) // 8, before.image.shape[1]
        errors.append(np.square(before.image[:height].astype(float) - after.image[:height, :width]).mean())
    return float(10 * np.log10(255**2 / max(np.mean(errors), 1e-9)))


def brightest_corner(image: np.ndarray) -> float:
    height, width = image.shape[0] // 8, image.shape[1] // 8
    corners = (
        image[:height, :width],
        image[:height, -width:],
        image[-height:, :width],
        image[-height:, -width:],
    )
    return max(float(corner.mean()) for corner in corners)


def verdict(case: Case, outcome: Outcome, expected: float) -> str:
    wrong = []
    if outcome.code != case.code:
        wrong.append(f"exit code {outcome.code} for {case.code}")
    if outcome.code and outcome.said.count("\n"):
        wrong.append("more than one line")
    if "LEFT" in outcome.said:
        wrong.append("left a file")
    if not outcome.code and not case.code:
        if abs(outcome.length - expected) > 1 / outcome.rate + 1e-3:
            wrong.append(f"length {outcome.length:.3f} s for {expected:.3f} s")
        if outcome.offset is not None and abs(outcome.offset) > MOST_OFFSET:
            wrong.append("out of sync")
        if outcome.psnr is not None and outcome.psnr < case.least_psnr:
            wrong.append("other colours")
    return "; ".join(wrong) or "as expected"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--clips", type=Path, default=ROOT.parent / "shared" / "data" / "clips")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    lines = [
        "| input | exit | frames | length, s | A/V offset, ms | top rows, dB | wall, s | outcome |",
        "|---|---|---|---|---|---|---|---|",
    ]
    n_wrong = 0
    with tempfile.TemporaryDirectory(prefix="matrix") as name:
        folder = Path(name)
        prepare(folder)
        for case in cases(given.clips):
            if given.only not in case.name:
                continue
            outcome = dub(case, folder, make(case, folder))
            result = verdict(case, outcome, case.lasts or SECONDS)
            n_wrong += result != "as expected"
            offset = "" if outcome.offset is None else f"{1000 * outcome.offset:+.2f}"
            psnr = "" if outcome.psnr is None else f"{outcome.psnr:.1f}"
            said = outcome.said.replace(name, "").replace("\n", " / ").replace("|", "/")[:160]
            lines.append(
                f"| {case.name} | {outcome.code} | {outcome.n_frames or ''} | "
                f"{f'{outcome.length:.3f}' if outcome.n_frames else ''} | {offset} | {psnr} | "
                f"{outcome.seconds:.1f} | "
                f"{result}{f': {said}' if outcome.code else ''} |"
            )
            print(lines[-1], file=sys.stderr, flush=True)
    lines.append(f"\n{len(lines) - 2} inputs, {n_wrong} not as expected")
    text = "\n".join(lines) + "\n"
    print(text)
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")
    sys.exit(n_wrong > 0)


if __name__ == "__main__":
    main()
