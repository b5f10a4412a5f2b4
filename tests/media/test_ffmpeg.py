"""The backend on the system's ffmpeg program: what the contract suites do not ask."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lipsync_cli.errors import MediaError, SettingsError
from lipsync_cli.interfaces import Colours, Frame
from lipsync_cli.media import ffmpeg_program
from lipsync_cli.media.ffmpeg_reader import FfmpegReader
from lipsync_cli.media.ffmpeg_writer import FfmpegWriter, encoder_options
from lipsync_cli.media.reader import VideoReader

RATE = Fraction(25)

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="there is no ffmpeg program here")


def writer(path: Path, **settings: Any) -> FfmpegWriter:
    return FfmpegWriter(path, width=64, height=48, rate=RATE, speech=None, preset="ultrafast", **settings)


def write(path: Path, n_frames: int = 5, **settings: Any) -> Path:
    with writer(path, **settings) as sink:
        for index in range(n_frames):
            sink.write(Frame(index, index / 25, np.full((48, 64, 3), 40 * index, np.uint8)))
    return path


def test_without_the_program_it_is_told(monkeypatch: pytest.MonkeyPatch, studio: Any) -> None:
    monkeypatch.setenv("FFMPEG_BINARY", "no-such-ffmpeg")
    with pytest.raises(SettingsError, match=r"no-such-ffmpeg.*not on the PATH.*install it"):
        list(FfmpegReader(studio.clip()))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, studio: Any) -> None:
    monkeypatch.setitem(sys.modules, "ffmpeg", None)
    with pytest.raises(SettingsError, match=r"lipsync_cli\[ffmpeg\]"):
        FfmpegReader(studio.clip())


@needs_ffmpeg
def test_an_encoder_that_does_not_work_here_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--encoder no_such: .*ffmpeg -encoders"):
        ffmpeg_program.check_encoder("no_such", ())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("encoder", ["mpeg4", "h264_unheard", "av1_nvenc", "hevc"])
def test_encoders_of_other_formats_and_families_are_refused(encoder: str) -> None:
    with pytest.raises(SettingsError, match=f"--encoder {encoder} is not known"):
        encoder_options(encoder, 18, "fast")


@pytest.mark.parametrize("family", ["nvenc", "qsv", "amf", "videotoolbox", "vaapi"])
def test_every_family_is_told_the_quality(family: str) -> None:
    fine, coarse = (encoder_options(f"h264_{family}", crf, "fast") for crf in (10, 40))
    assert fine.keys() == coarse.keys()
    assert fine != coarse


@pytest.mark.parametrize("family", ["nvenc", "qsv", "amf", "videotoolbox", "vaapi"])
def test_cards_take_their_own_formats_of_8_and_10_bits(family: str) -> None:
    for bits, form in ((8, "nv12"), (10, "p010le")):
        options = encoder_options(f"hevc_{family}", 18, "fast", bits)
        assert form in (options.get("pix_fmt") or options["vf"])


def test_hevc_by_amf_has_no_bidirectional_frames_to_set_a_quality_of() -> None:
    assert "qp_b" in encoder_options("h264_amf", 18, "fast")
    assert "qp_b" not in encoder_options("hevc_amf", 18, "fast")


@needs_ffmpeg
@pytest.mark.parametrize(
    ("settings", "codec", "tag"),
    [({}, "h264", "avc1"), ({"codec": "hevc"}, "hevc", "hvc1"), ({"encoder": "libx265"}, "hevc", "hvc1")],
)
def test_codec_or_encoder_decide_the_format(
    tmp_path: Path, settings: dict[str, Any], codec: str, tag: str
) -> None:
    with av.open(str(write(tmp_path / "out.mp4", **settings))) as container:
        context = container.streams.video[0].codec_context
        assert (context.name, context.codec_tag, context.pix_fmt) == (codec, tag, "yuv420p")
        assert (context.colorspace, context.color_range) == (6, 1)


@needs_ffmpeg
def test_both_backends_read_the_same_pictures_at_the_same_times(studio: Any) -> None:
    gradient = np.linspace(0, 255, 64 * 48 * 3).reshape(48, 64, 3).astype(np.uint8)
    times = [0.1, 0.15, 0.31, 0.34]
    clip = studio.clip(
        times=times, images=[gradient] * 4, matrix=1, rotation=90, pixel_aspect=Fraction(16, 15)
    )
    here, there = list(VideoReader(clip)), list(FfmpegReader(clip))
    assert [frame.time for frame in here] == pytest.approx([frame.time for frame in there], abs=1.2e-5)
    for one, other in zip(here, there, strict=True):
        assert one.image.shape == other.image.shape
        assert np.abs(one.image.astype(int) - other.image).mean() < 1.5


@needs_ffmpeg
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le", "yuv444p"])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("pixel_aspect", [None, Fraction(16, 15)])
def test_behind_filters_colours_lie_where_they_did(
    studio: Any, pixel_format: str, rotation: int, pixel_aspect: Fraction | None
) -> None:
    y, x = np.mgrid[:48, :64]
    red, blue = 90 + 2.5 * x, 200 - 2.5 * y
    image = np.stack([red, np.full_like(red, 120), blue], axis=-1).clip(0, 255).astype(np.uint8)
    turned = {"rotation": rotation, "pixel_aspect": pixel_aspect}
    clip = studio.clip(times=[0.0], images=[image], pixel_format=pixel_format, options={"qp": "0"}, **turned)
    (here,), (there,) = VideoReader(clip), FfmpegReader(clip, filters="null")
    error = here.image.astype(int) - there.image
    assert np.abs(error).mean() < 0.5  # half a pixel is 1.25 grey levels
    assert np.abs(error[4:-4, 4:-4]).max() <= 3


@needs_ffmpeg
def test_filters_may_change_the_size_and_the_rate(studio: Any) -> None:
    clip = studio.clip(times=[index / 25 for index in range(25)])
    reader = FfmpegReader(clip, filters="scale=32:24,fps=10")
    frames = list(reader)
    assert (reader.info.width, reader.info.height, reader.info.rate) == (32, 24, 10)
    assert frames[0].image.shape == (24, 32, 3)
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(len(frames)) / 10, atol=1e-4)
    assert abs(len(frames) - reader.info.n_frames) <= 1


@needs_ffmpeg
@pytest.mark.parametrize("n_frames", [1, 2, 3])
def test_filters_take_the_shortest_videos_too(studio: Any, n_frames: int) -> None:
    reader = FfmpegReader(studio.clip(times=[index / 25 for index in range(n_frames)]), filters="hflip")
    assert (reader.info.rate, reader.info.n_frames, len(list(reader))) == (25, n_frames, n_frames)


@needs_ffmpeg
def test_filters_that_ffmpeg_refuses_are_told_in_one_line(studio: Any) -> None:
    with pytest.raises(SettingsError, match="--filter no_such: ffmpeg refuses it") as caught:
        FfmpegReader(studio.clip(), filters="no_such")
    assert "\n" not in str(caught.value)


@needs_ffmpeg
def test_an_abandoned_iteration_ends_the_program(studio: Any) -> None:
    def children() -> set[str]:
        files = Path("/proc/self/task").glob("*/children")
        return {number for file in files for number in file.read_text().split()}

    others = children()  # other tests may have left some, such as the watcher of a pool of processes
    frames = iter(FfmpegReader(studio.clip(times=[index / 25 for index in range(200)])))
    next(frames)
    own = children() - others
    assert own
    frames.close()  # type: ignore[attr-defined]
    assert not children() & own


@needs_ffmpeg
def test_a_full_disk_is_a_media_error_that_names_the_file(tmp_path: Path, full_disk: Any) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)

    def write_all() -> None:
        with writer(folder / "out.mp4", crf=2) as sink:
            for index in range(150):
                sink.write(Frame(index, index / 25, np.roll(noise, 7 * index, axis=1)))

    with full_disk(50_000), pytest.raises(MediaError, match=r"out\.mp4: .*space"):
        write_all()
    assert not list(folder.iterdir())


@needs_ffmpeg
def test_what_is_transparent_shows_black(tmp_path: Path) -> None:
    picture = np.full((48, 64, 4), 200, np.uint8)
    picture[:, :32, 3], picture[:, 32:, 3] = 0, 255
    path = tmp_path / "clear.png"
    with av.open(str(path), "w", format="image2") as container:
        stream: Any = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgba"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgba")))
        container.mux(stream.encode(None))
    for reader in (VideoReader(path), FfmpegReader(path)):
        (frame,) = reader
        assert frame.image[:, :32].max() == 0
        assert frame.image[:, 32:].min() >= 199


@needs_ffmpeg
@pytest.mark.parametrize("backend", ["pyav", "ffmpeg"])
def test_pictures_of_bt_2020_and_hlg_stay_so_and_are_tagged_so(
    studio: Any, tmp_path: Path, backend: str
) -> None:
    from lipsync_cli.media.writer import VideoWriter

    clip = tmp_path / "hlg.mp4"
    with av.open(str(clip), "w") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 9, 9, 18, 1
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), (200, 90, 60), np.uint8), "rgb24")
        frame = frame.reformat(format="yuv420p10le", dst_colorspace="BT2020")
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    make = VideoWriter if backend == "pyav" else FfmpegWriter
    source = VideoReader(clip) if backend == "pyav" else FfmpegReader(clip)
    assert (source.info.colours.primaries, source.info.colours.transfer) == (9, 18)
    out = tmp_path / "out.mp4"
    kept = replace(source.info.colours, bits=8)
    with make(out, width=64, height=48, rate=RATE, speech=None, crf=4, colours=kept) as sink:
        for one in source:
            np.testing.assert_allclose(one.image.reshape(-1, 3).mean(axis=0), (200, 90, 60), atol=2)
            sink.write(one)
    assert VideoReader(out).info.colours == Colours(9, 9, 18)
    (again,) = VideoReader(out)
    np.testing.assert_allclose(again.image.reshape(-1, 3).mean(axis=0), (200, 90, 60), atol=3)
