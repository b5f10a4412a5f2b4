from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from lipsync_cli.errors import MediaError
from lipsync_cli.media.exif import exif_orientation
from lipsync_cli.media.ffmpeg_reader import FfmpegReader
from lipsync_cli.media.probe import probe_video
from lipsync_cli.media.reader import VideoReader

LOSSLESS = {"qp": "0"}
COLOURS = np.array(
    [[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255], [200, 120, 90], [30, 90, 160]], float
)
LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""ITU-T H.273 matrix -> its K_R and K_B."""


def stripes(matrix: int, *, full: bool, bits: int, height: int) -> list[NDArray[Any]]:
    """Planes of a 4:2:0 picture of 16 pixel wide stripes of COLOURS, by the formulas of ITU-T H.273."""
    red, green, blue = COLOURS.T / 255
    k_r, k_b = LUMA[matrix]
    y = k_r * red + (1 - k_r - k_b) * green + k_b * blue
    cb, cr = (blue - y) / (2 - 2 * k_b), (red - y) / (2 - 2 * k_r)
    top, step = 2**bits - 1, 2 ** (bits - 8)
    if full:
        values = [y * top, cb * top + 128 * step, cr * top + 128 * step]
    else:
        values = [(219 * y + 16) * step, (224 * cb + 128) * step, (224 * cr + 128) * step]
    stored = [np.clip(value.round(), 0, top).astype(np.uint16 if bits > 8 else np.uint8) for value in values]
    planes = []
    for value, shrink in zip(stored, (1, 2, 2), strict=True):
        planes.append(np.tile(np.repeat(value, 16 // shrink), (height // shrink, 1)))
    return planes


def middles(path: Path) -> NDArray[Any]:
    image = next(iter(VideoReader(path))).image
    return image[len(image) // 2, 8::16].astype(float)


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", [1, 5, 6, 9], ids=["bt709", "bt601_625", "bt601_525", "bt2020"])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
def test_known_colours_come_back_from_every_matrix_range_and_depth(
    studio: Any, matrix: int, full: bool, pixel_format: str
) -> None:
    bits = 10 if "10" in pixel_format else 8
    path = studio.clip(
        planes=stripes(matrix, full=full, bits=bits, height=48),
        size=(16 * len(COLOURS), 48),
        pixel_format=pixel_format,
        matrix=matrix,
        full_range=full,
        options=LOSSLESS if bits == 8 else {"crf": "0"},
        times=[0.0],
    )
    np.testing.assert_allclose(middles(path), COLOURS, atol=1.01)


@pytest.mark.parametrize(("height", "matrix"), [(48, 5), (576, 5), (578, 1), (720, 1)])
def test_without_a_declared_matrix_the_height_decides(studio: Any, height: int, matrix: int) -> None:
    planes = stripes(matrix, full=False, bits=8, height=height)
    path = studio.clip(planes=planes, size=(16 * len(COLOURS), height), options=LOSSLESS, times=[0.0])
    np.testing.assert_allclose(middles(path), COLOURS, atol=1.01)


@pytest.mark.parametrize(
    "rate", [Fraction(24_000, 1001), Fraction(25), Fraction(30_000, 1001), Fraction(60), Fraction(10)]
)
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov", "clip.mkv", "clip.ts", "clip.avi"])
def test_times_of_a_constant_rate_are_exact_in_every_container(
    studio: Any, name: str, rate: Fraction
) -> None:
    tick = 1 / rate if name == "clip.avi" else Fraction(1, 90_000)  # AVI files count frames
    finest = 0.0006 if name == "clip.mkv" else 1.2e-5  # Matroska counts milliseconds
    path = studio.clip(name, times=[float(index / rate) for index in range(20)], rate=rate, tick=tick)
    reader = VideoReader(path)
    times = [frame.time for frame in reader]
    np.testing.assert_allclose(times, [float(index / rate) for index in range(20)], atol=finest)
    assert abs(float(reader.info.rate / rate) - 1) < 0.001


def test_variable_times_are_kept_as_they_are(studio: Any) -> None:
    times = [0.0, 0.02, 0.1, 0.13, 0.5, 0.51, 0.52, 1.0]
    reader = VideoReader(studio.clip(times=times))
    np.testing.assert_allclose([frame.time for frame in reader], times, atol=1.2e-5)
    assert reader.info.n_frames == 8


def test_frames_come_in_order_of_presentation_from_a_file_with_b_frames(studio: Any) -> None:
    images = [np.full((48, 64, 3), 12 * index, np.uint8) for index in range(20)]
    path = studio.clip(
        images=images, times=[index / 25 for index in range(20)], options={"bf": "3", "crf": "5"}
    )
    with av.open(str(path)) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert stamps != sorted(stamps)  # there are B-frames
    means = [frame.image.mean() for frame in VideoReader(path)]
    np.testing.assert_allclose(means, [12 * index for index in range(20)], atol=3)


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv", "late.ts"])
def test_a_picture_that_starts_after_the_sound_starts_late(
    studio: Any, name: str, make_noise: Callable[..., Any]
) -> None:
    times = [0.4 + index / 25 for index in range(10)]
    frames = list(VideoReader(studio.clip(name, times=times, sound=make_noise(1.0))))
    # In a transport stream nothing tells that the first 1024 samples are encoder delay.
    assert frames[0].time == pytest.approx(0.4, abs=0.0225 if name == "late.ts" else 0.001)
    assert frames[-1].time - frames[0].time == pytest.approx(0.36, abs=0.001)


def test_without_sound_the_first_frame_is_at_time_zero(studio: Any) -> None:
    path = studio.clip(times=[5.0, 5.04, 5.08])
    np.testing.assert_allclose([frame.time for frame in VideoReader(path)], [0, 0.04, 0.08], atol=1.2e-5)


@pytest.mark.parametrize("rotation", [90, 180, 270, -90])
def test_the_display_matrix_turns_the_picture_counter_clockwise(studio: Any, rotation: int) -> None:
    image = np.full((48, 64, 3), 40, np.uint8)
    image[:24, :32] = 220  # top left
    reader = VideoReader(studio.clip(images=[image] * 3, times=[0, 0.04, 0.08], rotation=rotation))
    expected = np.rot90(image, rotation // 90)
    assert (reader.info.height, reader.info.width) == expected.shape[:2]
    for frame in reader:
        assert frame.image.shape == expected.shape
        assert frame.image.flags.c_contiguous
        assert np.abs(frame.image.astype(int) - expected).mean() < 6


def test_a_phone_held_upright_reads_upright(studio: Any) -> None:
    """Phones write (0 1; -1 0): turn the stored picture clockwise."""
    image = np.full((48, 64, 3), 40, np.uint8)
    image[:24, :32] = 220
    path = studio.clip(images=[image], times=[0.0], rotation=180)
    stored = path.read_bytes()
    one, zero, end = (1 << 16).to_bytes(4, "big"), bytes(4), (1 << 30).to_bytes(4, "big")
    minus_one = (-(1 << 16)).to_bytes(4, "big", signed=True)
    header = stored.index(b"tkhd")
    matrix = stored.index(end, header) - 32
    assert stored[matrix : matrix + 4] == minus_one
    upright = zero + one + zero + minus_one + zero + zero + zero + zero + end
    path.write_bytes(stored[:matrix] + upright + stored[matrix + 36 :])
    frame = next(iter(VideoReader(path)))
    assert frame.image.shape == (64, 48, 3)
    assert frame.image[:30, 28:].mean() > 200  # the stored top left is shown at the top right
    assert frame.image[:30, :20].mean() < 60


def test_pixels_that_are_not_square_are_stretched(studio: Any) -> None:
    wide = VideoReader(studio.clip("wide.mp4", pixel_aspect=Fraction(4, 3)))
    high = VideoReader(studio.clip("high.mp4", pixel_aspect=Fraction(1, 2)))
    assert (wide.info.width, wide.info.height) == (86, 48)
    assert (high.info.width, high.info.height) == (64, 96)
    assert next(iter(high)).image.shape == (96, 64, 3)


def test_odd_sizes_are_read(studio: Any) -> None:
    path = studio.clip("odd.mkv", codec="ffv1", pixel_format="yuv420p", size=(63, 47))
    reader = VideoReader(path)
    assert (reader.info.width, reader.info.height) == (63, 47)
    assert {frame.image.shape for frame in reader} == {(47, 63, 3)}


def test_a_damaged_packet_is_left_out_and_counted(studio: Any) -> None:
    path = studio.clip(
        "damaged.mov", codec="png", pixel_format="rgb24", times=[index / 25 for index in range(8)]
    )
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][3]
    stored = path.read_bytes()
    payload = bytes(packet)
    first = stored.index(payload, packet.pos)
    path.write_bytes(stored[:first] + bytes(len(payload)) + stored[first + len(payload) :])
    reader = VideoReader(path)
    frames = list(reader)
    assert reader.n_skipped == 1
    np.testing.assert_allclose([f.time for f in frames], [0, 0.04, 0.08, 0.16, 0.2, 0.24, 0.28], atol=0.001)
    assert [frame.index for frame in frames] == list(range(7))


def test_a_file_that_breaks_off_is_read_up_to_there(studio: Any) -> None:
    path = studio.clip("broken.mkv", times=[index / 25 for index in range(100)], options={"g": "5"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 20 < sum(1 for _ in VideoReader(path)) < 80


def test_times_rise_on_where_two_streams_are_joined_end_to_end(studio: Any) -> None:
    one = studio.clip("one.ts", times=[index / 25 for index in range(60)]).read_bytes()
    path = studio.folder / "joined.ts"
    path.write_bytes(one + one)
    times = [frame.time for frame in VideoReader(path)]
    assert len(times) == 120
    assert all(later > earlier for earlier, later in pairwise(times))


def test_frames_without_time_stamps_follow_the_rate(studio: Any) -> None:
    path = studio.clip("bare.h264", times=[index / 25 for index in range(10)])
    times = [frame.time for frame in VideoReader(path)]
    np.testing.assert_allclose(times, [index / 25 for index in range(10)], atol=1e-9)


def test_a_rate_that_is_a_time_base_in_disguise_is_measured(studio: Any) -> None:
    path = studio.clip("bare.mkv", times=[index / 20 for index in range(10)], rate=Fraction(90_000))
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate > 1000
    info = probe_video(path)
    assert abs(float(info.rate) - 20) < 0.1
    assert info.n_frames == 10
    assert info.duration == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_a_still_picture_is_a_video_of_one_frame(tmp_path: Path, suffix: str) -> None:
    import cv2

    image = np.full((31, 45, 3), (10, 90, 200), np.uint8)
    path = tmp_path / f"still{suffix}"
    cv2.imwrite(str(path), image[..., ::-1])
    reader = VideoReader(path)
    frames = list(reader)
    assert [(frame.index, frame.time) for frame in frames] == [(0, 0.0)]
    assert (reader.info.width, reader.info.height, reader.info.n_frames) == (45, 31, 1)
    assert np.abs(frames[0].image.astype(int) - image).max() <= 2


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [("clip.gif", "gif", "rgb8"), ("clip.apng", "apng", "rgb24"), ("clip.png", "apng", "rgb24")],
)
def test_an_animated_picture_is_a_video(tmp_path: Path, name: str, codec: str, pixel_format: str) -> None:
    reader = VideoReader(animation(tmp_path / name, codec, pixel_format))
    assert (reader.info.rate, reader.info.n_frames, reader.info.duration) == (10, 4, pytest.approx(0.4))
    frames = list(reader)
    assert [frame.time for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3])
    for index, frame in enumerate(frames):
        assert frame.image.mean() == pytest.approx(60 * index, abs=3)  # a GIF of fixed colours is dithered


def test_an_animated_webp_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"clip\.webp: this is an animated WebP.*save it as MP4") as caught:
        VideoReader(animation(tmp_path / "clip.webp", "libwebp_anim", "yuv420p"))
    assert "\n" not in str(caught.value)


def animation(path: Path, codec: str, pixel_format: str) -> Path:
    """4 pictures of 64 x 48, the i-th of grey 60 * i, 10 a second."""
    with av.open(str(path), "w", format=codec.removeprefix("lib").removesuffix("_anim")) as container:
        video: Any = container.add_stream(codec, rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, pixel_format
        for index in range(4):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 60 * index, np.uint8), "rgb24")
            frame = frame.reformat(format=pixel_format)
            frame.pts = index
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
    return path


def test_earlier_frames_are_not_held(studio: Any) -> None:
    path = studio.clip(times=[index / 25 for index in range(60)])
    seen: list[weakref.ref[Any]] = []
    for frame in VideoReader(path):
        alive = sum(reference() is not None for reference in seen)
        assert alive <= 1  # the one before, until its name is bound anew
        seen.append(weakref.ref(frame.image))
        del frame
    assert len(seen) == 60


def test_an_abandoned_iteration_closes_the_file(studio: Any, open_files: Callable[[Path], int]) -> None:
    path = studio.clip(times=[index / 25 for index in range(60)])
    frames = iter(VideoReader(path))
    next(frames)
    assert open_files(path) == 1
    del frames
    assert open_files(path) == 0


def test_a_file_whose_every_packet_is_damaged_is_refused(studio: Any) -> None:
    path = studio.clip("ruin.mov", codec="png", pixel_format="rgb24", options={}, times=[0.0, 0.04])
    with av.open(str(path)) as container:
        packets = [(packet.pos, bytes(packet)) for packet in container.demux(video=0) if packet.size]
    stored = path.read_bytes()
    for position, payload in packets:
        first = stored.index(payload, position)
        stored = stored[:first] + bytes(len(payload)) + stored[first + len(payload) :]
    path.write_bytes(stored)
    with pytest.raises(MediaError, match=r"ruin\.mov"):
        list(VideoReader(path))


UPRIGHT = np.kron(np.array([[20, 90], [160, 230]], np.uint8), np.ones((24, 32), np.uint8))
LYING = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT),
    7: UPRIGHT[::-1, ::-1].T,
    8: np.rot90(UPRIGHT, -1),
}
"""EXIF orientation -> how the photo is stored that has to be shown upright."""


@pytest.mark.parametrize("backend", [VideoReader, FfmpegReader])
@pytest.mark.parametrize("order", ["big", "little"])
@pytest.mark.parametrize("orientation", LYING)
def test_a_photo_is_turned_and_mirrored_as_its_exif_says(
    tmp_path: Path, orientation: int, order: str, backend: Callable[[Path], Any]
) -> None:
    if backend is FfmpegReader and shutil.which("ffmpeg") is None:
        pytest.skip("there is no ffmpeg program on this machine")
    path = tmp_path / "photo.jpg"
    lying = np.repeat(LYING[orientation][..., None], 3, axis=2)
    data = cv2.imencode(".jpg", lying, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    numbers = ((42, 2), (8, 4), (1, 2), (0x0112, 2), (3, 2), (1, 4), (orientation, 2), (0, 2), (0, 4))
    tiff = b"".join(value.to_bytes(size, order) for value, size in numbers)  # type: ignore[arg-type]
    exif = b"Exif\0\0" + (b"MM" if order == "big" else b"II") + tiff
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    reader = backend(path)
    (frame,) = reader
    assert (reader.info.height, reader.info.width) == UPRIGHT.shape
    assert frame.image.shape == (*UPRIGHT.shape, 3)
    assert np.abs(frame.image.astype(int) - UPRIGHT[..., None]).mean() < 3


def test_an_exif_block_that_is_cut_off_turns_nothing(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe1\0\x10Exif\0\0MM\0*\0\0\0\x08\0")
    assert exif_orientation(path) == 1
