"""Pictures to tensors: values, colour order, place, and what is taken as a picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.errors import UsageError
from edgepose.networks.manifest import InputSpec
from edgepose.preprocess import as_rgb, fit, to_tensor

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def flat(color: tuple[int, int, int], width: int = 50, height: int = 40) -> np.ndarray:
    return np.full((height, width, 3), color, np.uint8)


def test_normalisation_is_per_channel_in_the_networks_order() -> None:
    spec = InputSpec(width=8, height=8, **IMAGENET)
    tensor = to_tensor([flat((255, 0, 51))], [fit(spec, 50, 40)], spec)[0]
    expected = (np.array([1, 0, 0.2]) - spec.mean) / spec.std
    np.testing.assert_allclose(tensor[:, 3, 3], expected, rtol=1e-5)
    assert tensor.shape == (3, 8, 8)
    assert tensor.dtype == np.float32


def test_bgr_without_normalisation_keeps_the_pixels() -> None:
    spec = InputSpec(width=8, height=8, color="bgr", scale=1.0)
    tensor = to_tensor([flat((10, 20, 30))], [fit(spec, 50, 40)], spec)[0]
    assert tensor[:, 0, 0].tolist() == [30, 20, 10]


def test_nhwc_is_the_transposed_tensor() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8)
    nchw = InputSpec(width=16, height=12)
    nhwc = InputSpec(width=16, height=12, layout="nhwc")
    a = to_tensor([picture], [fit(nchw, 50, 40)], nchw)[0]
    b = to_tensor([picture], [fit(nhwc, 50, 40)], nhwc)[0]
    np.testing.assert_array_equal(a.transpose(1, 2, 0), b)


@pytest.mark.parametrize("align", ["centre", "top-left"])
def test_letterbox_pads_and_the_inverse_finds_the_picture(align: str) -> None:
    spec = InputSpec(width=64, height=64, scale=1.0, resize="letterbox", align=align, pad=7)
    place = fit(spec, 50, 25)
    tensor = to_tensor([flat((200, 200, 200), 50, 25)], [place], spec)[0]
    rows = np.flatnonzero(tensor[0, :, 32] == 200)
    assert len(rows) == 32
    assert rows[0] == (16 if align == "centre" else 0)
    assert set(np.unique(tensor)) == {7.0, 200.0}
    back = place.to_image(np.array([(0, rows[0]), (64, rows[-1] + 1)]))
    np.testing.assert_allclose(back, [(0, 0), (50, 25)], atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(["stretch", "letterbox"]))
def test_a_bright_spot_lands_where_the_affine_says(width: int, height: int, resize: str) -> None:
    spec = InputSpec(width=96, height=72, scale=1.0, resize=resize)
    picture = np.zeros((height, width, 3), np.uint8)
    x, y = width // 2, height // 3
    picture[y, x] = 255
    place = fit(spec, width, height)
    tensor = to_tensor([picture], [place], spec)[0, 0]
    if tensor.max() < 8:
        return  # averaged away in a strong reduction
    ys, xs = np.nonzero(tensor)
    weights = tensor[ys, xs]
    centre = np.array(
        [np.average(xs + 0.5, weights=weights), np.average(ys + 0.5, weights=weights)]
    )
    reach = 1.5 * max(1.0, place.drawn.a, place.drawn.e)
    assert np.abs(centre - place.drawn.apply(np.array([x + 0.5, y + 0.5]))).max() < reach


def test_shrinking_averages_instead_of_aliasing() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 200
    spec = InputSpec(width=40, height=40, scale=1.0)
    tensor = to_tensor([stripes], [fit(spec, 400, 400)], spec)[0]
    np.testing.assert_allclose(tensor, 100, atol=1)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_grey_rgb_and_rgba_become_rgb(shape: tuple[int, ...]) -> None:
    rgb = as_rgb(np.full(shape, 9, np.uint8))
    assert rgb.shape == (5, 7, 3)
    assert (rgb == 9).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("top", [1.0, 255.0])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_floats_are_0_to_1_or_0_to_255(dtype: str, top: float, data: st.DataObject) -> None:
    levels = data.draw(st.lists(st.integers(0, 255), min_size=12, max_size=12))
    levels[0] = 255  # the brightest tells which
    expected = np.array(levels, np.uint8).reshape(2, 2, 3)
    off = np.abs(as_rgb((expected * (top / 255)).astype(dtype)).astype(int) - expected)
    assert off.max() == 0


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint32", "uint64"])
def test_other_integers_are_levels(dtype: str) -> None:
    top = min(255, np.iinfo(dtype).max)
    picture = np.array([[0, 1, top]], dtype)
    assert as_rgb(picture)[0, :, 0].tolist() == [0, 1, top]


def test_sixteen_bits_are_the_whole_range_and_truth_black_and_white() -> None:
    for order in "<>":
        sixteen = np.array([[0, 0x1234, 0xFFFF]], f"{order}u2")
        assert as_rgb(sixteen)[0, :, 0].tolist() == [0, 0x12, 255]
    assert as_rgb(np.array([[False, True]]))[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("dtype", ["float32", "uint16", "int32"])
def test_black_is_black(dtype: str) -> None:
    assert as_rgb(np.zeros((2, 2), dtype)).max() == 0


@pytest.mark.parametrize(
    "numbers",
    [
        np.float32([-1, 0, 1]),
        np.float32([0, 1.5]),
        np.float32([0, 300]),
        np.float64([-5, 200]),
        np.float32([0, np.nan, 1]),
        np.float32([0, np.inf]),
        np.uint16([0, 255]),
        np.uint16([0, 4095]),
        np.array([0, 200], ">u2"),
        np.int8([-3, 100]),
        np.int32([0, 4000]),
        np.int64([-1, 255]),
    ],
    ids=lambda n: f"{n.dtype} {n.min()} {n.max()}",
)
def test_numbers_that_may_mean_anything_are_refused(numbers: np.ndarray) -> None:
    with pytest.raises(UsageError, match="Cannot tell what the numbers"):
        as_rgb(numbers[None])


@pytest.mark.parametrize(
    "bad", [np.zeros(3), np.zeros((0, 4, 3)), np.zeros((4, 4, 2)), "text", [[0], [0, 1]]]
)
def test_other_arrays_are_refused_with_what_is_needed(bad: object) -> None:
    with pytest.raises(UsageError, match=r"RGB|Cannot take list"):
        as_rgb(bad)


@pytest.mark.parametrize("shrink", ["area", "auto"])
def test_networks_that_want_it_average_every_reduction(shrink: str) -> None:
    """1.5 pixels become one: bilinear takes two of them in turn, an average all."""
    stripes = np.zeros((300, 300, 3), np.uint8)
    stripes[:, ::3] = 240
    spec = InputSpec(width=200, height=200, scale=1.0, resize="letterbox", shrink=shrink)  # type: ignore[arg-type]
    tensor = to_tensor([stripes], [fit(spec, 300, 300, "boxes")], spec)
    assert (tensor[0, 0].max() > 170) == (shrink == "auto")
    assert (tensor.mean() == pytest.approx(80, abs=2)) == (shrink == "area")
