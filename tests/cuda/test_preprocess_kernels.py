"""The preprocess kernels: equal to their twin everywhere, and the twin equal to OpenCV."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepose.cuda import twins
from edgepose.cuda.kernels import strip_columns
from edgepose.cuda.pictures import (
    GREY,
    PICTURE_FORMATS,
    PIXEL_BYTES,
    Planes,
    TensorLayout,
    Window,
)
from edgepose.errors import UsageError
from edgepose.geometry import Affine, crop, letterbox, stretch
from edgepose.networks.manifest import InputSpec
from edgepose.preprocess import fit, to_tensor


def planes(format: str, width: int, height: int, rng: Any, padding: int = 0) -> list[np.ndarray]:
    """Random planes whose rows are `padding` bytes longer than they need to be."""

    def plane(h: int, w: int, channels: int) -> np.ndarray:
        rows = rng.integers(0, 256, (h, w * channels + padding), np.uint8)
        shape = (h, w, channels) if channels > 1 else (h, w)
        strides = (rows.strides[0], channels, 1) if channels > 1 else (rows.strides[0], 1)
        return np.lib.stride_tricks.as_strided(rows, shape, strides)

    half = ((height + 1) // 2, (width + 1) // 2)
    if format == "nv12":
        return [plane(height, width, 1), plane(*half, 2)]
    if format == "i420":
        return [plane(height, width, 1), plane(*half, 1), plane(*half, 1)]
    return [plane(height, width, PIXEL_BYTES[format])]


def smooth(width: int, height: int) -> np.ndarray:
    """An RGB picture without steps of more than some levels."""
    noise = np.random.default_rng(5).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


@st.composite
def spans(draw: st.DrawFn, size: int) -> slice:
    """From start to stop within a size; empty ones too."""
    start, stop = sorted(draw(st.tuples(st.integers(0, size), st.integers(0, size))))
    return slice(start, stop)


@st.composite
def cases(
    draw: st.DrawFn,
) -> tuple[list[tuple[Any, int]], list[Affine], TensorLayout, list[Window]]:
    """Batches of up to 18 pictures (more than one launch takes) of any format, size, place and window."""
    width, height = draw(st.integers(1, 50)), draw(st.integers(1, 50))
    layout = TensorLayout(
        width,
        height,
        gain=(1 / 57, 1 / 58, 0.017),
        offset=(-2.1, -2.0, 0.3),
        pad=draw(st.sampled_from([0.0, 114.0])),
        bgr=draw(st.booleans()),
        nhwc=draw(st.booleans()),
        half=draw(st.booleans()),
    )
    pictures, affines, windows = [], [], []
    masked = draw(st.booleans())
    for _ in range(draw(st.sampled_from([1, 1, 2, 18]))):
        size = draw(st.integers(1, 160)), draw(st.integers(1, 160))
        kind = draw(st.sampled_from(["stretch", "letterbox", "crop", "mirror"]))
        if kind == "stretch":
            affine = stretch(size, (width, height))
        elif kind == "letterbox":
            affine = letterbox(size, (width, height), centre=draw(st.booleans()))
        elif kind == "mirror":
            affine = Affine(-width / size[0], 0, width, 0, height / size[1], 0)
        else:
            part = st.floats(0.1, 3)
            wanted = size[0] * draw(part), size[1] * draw(part)
            angle = 0.0 if masked else draw(st.sampled_from([0.0, 0.3, -1.2, 3.0]))
            affine = crop((size[0] * 0.6, size[1] * 0.4), wanted, (width, height), angle)
        seed, padding = draw(st.integers(0, 999)), draw(st.integers(0, 9))
        format = draw(st.sampled_from(PICTURE_FORMATS))
        made = planes(format, *size, np.random.default_rng(seed), padding)
        matrix = draw(st.sampled_from(["bt601", "bt709"]))
        pictures.append(((made, format, *size, matrix, draw(st.booleans())), padding))
        affines.append(affine)
        if masked:
            windows.append((draw(spans(height)), draw(spans(width))))
    return pictures, affines, layout, windows


@given(case=cases())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_kernels_equal_their_twin(on: Any, case: Any) -> None:
    made, affines, layout, windows = case
    pictures = [Planes(tuple(arrays), *rest).checked() for (arrays, *rest), _ in made]
    want = twins.preprocess(pictures, affines, layout, windows)
    there = [
        Planes(tuple(on.put(a) for a in arrays), *rest).checked() for (arrays, *rest), _ in made
    ]
    got = on.get(on.kernels.preprocess(there, affines, layout, windows=windows))
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def test_outside_of_a_window_all_is_grey(on: Any) -> None:
    """One window within a strip, one that is empty, one that is all; two strips a row."""
    picture = Planes.packed(on.put(smooth(4000, 40)))
    layout = TensorLayout(1000, 10, (1, 1, 1), (0, 0, 0), nhwc=True)
    places = [stretch((4000, 40), (1000, 10))] * 3
    whole = on.get(on.kernels.preprocess([picture] * 3, places, layout))
    windows = [
        (slice(2, 7), slice(3, 400)),
        (slice(4, 4), slice(0, 9)),
        (slice(0, 10), slice(0, 1000)),
    ]
    want = np.full_like(whole, GREY)
    want[0, 2:7, 3:400], want[2] = whole[0, 2:7, 3:400], whole[2]
    got = on.get(on.kernels.preprocess([picture] * 3, places, layout, windows=windows))
    np.testing.assert_array_equal(got, want)


def levels(picture: np.ndarray, affine: Affine, size: tuple[int, int]) -> np.ndarray:
    """The twin's answer as RGB levels (height, width, 3)."""
    layout = TensorLayout(*size, (1, 1, 1), (0, 0, 0), nhwc=True)
    out: np.ndarray = twins.preprocess([Planes.packed(picture)], [affine], layout)[0]
    return out


@pytest.mark.parametrize(
    ("size", "mode"), [((300, 150), cv2.INTER_LINEAR), ((64, 40), cv2.INTER_AREA)]
)
def test_the_twin_is_opencv_resize(size: tuple[int, int], mode: int) -> None:
    picture = smooth(333, 211)
    want = cv2.resize(picture.astype(np.float32), size, interpolation=mode)
    np.testing.assert_allclose(levels(picture, stretch((333, 211), size), size), want, atol=0.01)


def test_the_twin_is_opencv_warp_inside_the_picture() -> None:
    picture, size = smooth(200, 160), (64, 48)
    affine = crop((100, 80), (90, 60), size, 0.6)
    numbers = affine.matrix  # between pixel numbers, as OpenCV has it
    numbers[:, 2] += 0.5 * (numbers[:, 0] + numbers[:, 1]) - 0.5
    want = cv2.warpAffine(picture.astype(np.float32), numbers, size)
    # OpenCV 4 rounds positions to a 32nd of a pixel
    np.testing.assert_allclose(levels(picture, affine, size), want, atol=0.5)


def test_no_aliasing_where_a_rotated_crop_shrinks() -> None:
    stripes = np.zeros((300, 300, 3), np.uint8)
    stripes[::2] = 255
    affine = crop((150, 150), (200, 200), (32, 32), 0.4)
    inside = levels(stripes, affine, (32, 32))
    assert abs(inside.mean() - 127.5) < 2
    assert inside.std() < 12


@pytest.mark.parametrize("format", ["nv12", "i420"])
def test_yuv_colours_are_those_of_opencv(format: str) -> None:
    picture = smooth(64, 48)
    packed = cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420)
    luma = packed[:48]
    u, v = packed[48:60].reshape(24, 32), packed[60:].reshape(24, 32)
    yuv = (
        Planes.i420(luma, u, v)
        if format == "i420"
        else Planes.nv12(luma, np.ascontiguousarray(np.stack([u, v], -1)))
    )
    layout = TensorLayout(64, 48, (1, 1, 1), (0, 0, 0), nhwc=True)
    got = twins.preprocess([yuv], [stretch((64, 48), (64, 48))], layout)[0]
    assert np.abs(got - picture).mean() < 2  # chroma was halved on the way


def test_full_range_and_bt709() -> None:
    luma, chroma = np.full((2, 2), 255, np.uint8), np.full((1, 1, 2), 128, np.uint8)
    layout = TensorLayout(2, 2, (1, 1, 1), (0, 0, 0))
    same = stretch((2, 2), (2, 2))
    full = twins.preprocess([Planes.nv12(luma, chroma, full_range=True)], [same], layout)
    np.testing.assert_allclose(full, 255)
    red = np.array([[[90, 240]]], np.uint8)
    picture = Planes.nv12(np.full((2, 2), 63, np.uint8), red, matrix="bt709")
    r, g, b = twins.preprocess([picture], [same], layout)[0, :, 0, 0]
    assert r > 240
    assert g < 15
    assert b < 15


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("size", [(640, 480), (1920, 1080)])
def test_like_the_path_on_the_cpu(resize: Any, size: tuple[int, int]) -> None:
    """`to_tensor` rounds to levels on the way: half a level of difference."""
    spec = InputSpec(
        width=224, height=224, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), resize=resize
    )
    picture, place = smooth(*size), fit(spec, *size)
    got = twins.preprocess([Planes.packed(picture)], [place.drawn], TensorLayout.of(spec))[0]
    want = to_tensor([picture], [place], spec)[0]
    assert np.abs(got - want).max() < 1.01 / 255 / 0.224


def test_a_picture_that_shrinks_very_much(on: Any) -> None:
    wide = np.random.default_rng(0).integers(0, 256, (2, 19000, 3), np.uint8)
    layout, affine = TensorLayout(16, 1), stretch((19000, 2), (16, 1))
    want = twins.preprocess([Planes.packed(wide)], [affine], layout)
    got = on.get(on.kernels.preprocess([Planes.packed(on.put(wide))], [affine], layout))
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("rows", [3, 256, 258, 300, 700])
def test_rows_that_become_one(on: Any, rows: int) -> None:
    """Whole rows are summed as integers, and added every 256 of them."""
    picture = np.random.default_rng(rows).integers(0, 256, (rows, 48, 3), np.uint8)
    picture[:, ::2] = 255
    layout, affine = TensorLayout(12, 1), Affine(0.25, 0, 0, 0, 1.01 / rows, -0.005)
    want = twins.preprocess([Planes.packed(picture)], [affine], layout)
    got = on.get(on.kernels.preprocess([Planes.packed(on.put(picture))], [affine], layout))
    np.testing.assert_array_equal(got, want)
    np.testing.assert_allclose(want[0, :, 0, 2], picture.mean(0)[8:12].mean(0) / 255, atol=0.03)


def test_strips_fit_into_shared_memory() -> None:
    for scale in (0.01, 0.5, 1.0, 1.9, 2.0, 2.1, 17.1, 500.0, 1015.0):
        columns = strip_columns([scale], 10**6)
        source_columns = (columns - 1) * scale + max(scale, 2.0) + 3
        assert 4 * source_columns + 30 <= 8192
    with pytest.raises(UsageError, match="cannot shrink"):
        strip_columns([3000.0], 10)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Planes.packed(np.zeros((4, 4), np.uint8)), "no rgb8 picture"),
        (lambda: Planes.packed(np.zeros((4, 4, 3), np.float32)), "needs bytes"),
        (lambda: Planes.packed(np.zeros((4, 8, 3), np.uint8)[:, ::2]), "side by side"),
        (lambda: Planes.packed(np.zeros((4, 4, 3), np.uint8)[::-1]), "side by side"),
        (lambda: Planes.packed(np.zeros((0, 4, 3), np.uint8)), "no rgb8 picture"),
        (
            lambda: Planes.nv12(np.zeros((4, 4), np.uint8), np.zeros((4, 4, 2), np.uint8)),
            "it needs",
        ),
        (lambda: Planes.packed(3), "found int"),
    ],
)
def test_what_is_no_picture_is_refused(make: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()


def test_maps_that_cannot_be_meant(on: Any) -> None:
    picture = Planes.packed(on.put(np.zeros((4, 4, 3), np.uint8)))
    with pytest.raises(UsageError, match="without area"):
        on.kernels.preprocess([picture], [Affine(0, 0, 1, 0, 1, 1)], TensorLayout(4, 4))
    turned, window = crop((2, 2), (2, 2), (4, 4), 0.3), (slice(0, 2), slice(0, 4))
    with pytest.raises(UsageError, match="cannot be masked"):
        on.kernels.preprocess([picture], [turned], TensorLayout(4, 4), windows=[window])
    with pytest.raises(UsageError, match="1 pictures, but 0 maps"):
        on.kernels.preprocess([picture], [], TensorLayout(4, 4))
