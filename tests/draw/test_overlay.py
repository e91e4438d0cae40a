"""The overlay: words, sizes, colours, blending, and poses that no picture has room for."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgepose.draw.canvas import Canvas, clip_segment
from edgepose.draw.overlay import WORDS, Overlay, parse_overlay, stats_text, track_color
from edgepose.errors import UnknownNameError
from edgepose.networks.topology import Topology
from edgepose.types import Link, Pose

RED, GREEN, BLUE = (255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255)
NAMES = ("head", "hip", "foot")
BODY = Topology("person", NAMES, ((0, 1), (1, 2)), (), (RED, GREEN, BLUE))


def pose(*xy: tuple[float, float], links: tuple[Link, ...] | None = None, **more: object) -> Pose:
    points = np.array([(x, y, 1.0) for x, y in xy], np.float32)
    links = (Link(0, 1, 1.0), Link(1, 2, 1.0))[: len(xy) - 1] if links is None else links
    return Pose(0, points, NAMES[: len(xy)], links, score=0.87).with_(**more)


def black(width: int, height: int) -> NDArray[np.uint8]:
    return np.zeros((height, width, 3), np.uint8)


def words(text: str) -> frozenset[str]:
    return parse_overlay(text)


# words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("links,keypoints", {"links", "keypoints"}),
        (" Link | KEYPOINT ", {"links", "keypoints"}),
        ("box", {"boxes"}),
        ("boxes|ids,stats", {"boxes", "ids", "stats"}),
        ("default,scores", {"links", "keypoints", "scores"}),
        ("none", set()),
        ("none,links", {"links"}),
        ("", {"links", "keypoints"}),
        (",|,", {"links", "keypoints"}),
    ],
)
def test_words(text: str, expected: set[str]) -> None:
    assert parse_overlay(text) == expected


@pytest.mark.parametrize(("typo", "meant"), [("keypionts", "keypoints"), ("lniks", "links")])
def test_an_unknown_word_is_an_error_with_a_suggestion(typo: str, meant: str) -> None:
    with pytest.raises(UnknownNameError, match=f"Did you mean '{meant}'") as caught:
        parse_overlay(f"boxes,{typo}")
    assert caught.value.exit_code == 2


@given(st.sets(st.sampled_from(WORDS), min_size=1), st.sampled_from([",", "|", " , "]))
def test_any_set_of_words_comes_back(chosen: set[str], separator: str) -> None:
    assert parse_overlay(separator.join(w.upper() for w in chosen)) == chosen


# sizes and colours -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "scale", "radius"),
    [((320, 240), 0.0052, 4.0), ((1280, 720), 0.0052, 6.656), ((3840, 2160), 0.0052, 19.968)],
)
def test_keypoint_radius_follows_the_longer_side(
    size: tuple[int, int], scale: float, radius: float
) -> None:
    picture = black(*size)
    Overlay(BODY, words("keypoints"), keypoint_scale=scale).draw(picture, [pose((100.3, 120.7))])
    area = picture[:, :, 0].sum() / 255
    assert math.sqrt(area / math.pi) == pytest.approx(radius, abs=0.3)


@pytest.mark.parametrize(
    ("size", "options", "width"),
    [
        ((320, 240), {}, 1.5),
        ((3840, 2160), {}, 4.992),
        ((320, 240), {"line_width": 3}, 3.0),
        ((1280, 720), {"link_scale": 0.01}, 12.8),
    ],
)
@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0, 5.0])
def test_link_width_follows_the_longer_side(
    size: tuple[int, int], options: dict[str, float], width: float, slope: float
) -> None:
    picture = black(*size)
    reach = 60 / math.hypot(1, slope)
    a, b = (110 - reach, 120 - reach * slope), (110 + reach, 120 + reach * slope)
    Overlay(BODY, words("links"), **options).draw(picture, [pose(a, b)])
    # 120 pixels long, with round ends
    area = picture[:, :, 1].sum() / 255 - math.pi * width**2 / 4
    assert area / 120 == pytest.approx(width, abs=0.45)


def test_a_link_has_the_colour_of_the_higher_endpoint_whichever_way_round() -> None:
    for link in (Link(0, 2, 1.0), Link(2, 0, 1.0)):
        picture = black(320, 240)
        body = pose((50.5, 50.5), (0, 0), (150.5, 50.5), links=(link,))
        Overlay(BODY, words("links"), line_width=3).draw(picture, [body])
        assert picture[50, 100].tolist() == [0, 0, 255]


def test_keypoints_lie_on_top_of_links_at_sub_pixel_places() -> None:
    picture = black(320, 240)
    body = pose((50, 50), (90, 50), (130, 50))
    Overlay(BODY, words("links,keypoints"), line_width=3).draw(picture, [body])
    for (x, y), color in zip(((50, 50), (90, 50), (130, 50)), BODY.colors, strict=True):
        assert (picture[y - 2 : y + 2, x - 2 : x + 2] == color[:3]).all()


@pytest.mark.parametrize(("x", "y"), [(50.0, 50.0), (50.5, 50.5), (50.25, 49.8)])
def test_sub_pixel_places_are_kept(x: float, y: float) -> None:
    picture = black(100, 100)
    Overlay(BODY, words("keypoints")).draw(picture, [pose((x, y))])
    weight = picture[:, :, 0] / picture[:, :, 0].sum()
    centres = np.arange(100) + 0.5
    assert weight.sum(axis=0) @ centres == pytest.approx(x, abs=0.07)
    assert weight.sum(axis=1) @ centres == pytest.approx(y, abs=0.07)


def test_only_matched_links_are_drawn() -> None:
    picture = black(320, 240)
    body = pose((20, 20), (200, 20), (200, 200), links=(Link(1, 2, 1.0),))
    Overlay(BODY, words("links")).draw(picture, [body])
    assert not picture[:, :190].any()
    assert picture[100, 195:205, 2].any()


def test_without_colours_everything_is_green() -> None:
    picture = black(100, 100)
    Overlay(Topology("x", NAMES, ()), words("keypoints")).draw(picture, [pose((50, 50))])
    assert picture[50, 50].tolist() == [0, 255, 0]


def test_nothing_but_the_skeleton_is_touched() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (240, 320, 3), np.uint8)
    for alpha in (255, 120):
        picture = noise.copy()
        Overlay(BODY, alpha=alpha).draw(picture, [pose((100, 60), (120, 100), (110, 150))])
        changed = (picture != noise).any(axis=2)
        assert 100 < changed.sum() < 600
        assert not changed[:53].any()
        assert not changed[157:].any()
        assert not changed[:, :93].any()
        assert not changed[:, 127:].any()


# blending ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0, 1, 64, 128, 200, 255])
def test_alpha_blends_over_the_picture(alpha: int) -> None:
    picture = np.full((100, 100, 3), 100, np.uint8)
    Overlay(BODY, words("keypoints"), alpha=alpha).draw(picture, [pose((50, 50))])
    a = alpha / 255
    expected = [100 * (1 - a) + 255 * a, 100 * (1 - a), 100 * (1 - a)]
    assert picture[50, 50].tolist() == pytest.approx(expected, abs=1.5)
    assert (picture[0] == 100).all()


def test_the_alpha_of_a_colour_counts_too_and_crossings_do_not_add_up() -> None:
    half = Topology("x", NAMES, ((0, 1), (1, 2)), (), ((200, 0, 0, 128),) * 3)
    picture = black(100, 100)
    body = pose((20, 50), (80, 50), (30, 50))
    Overlay(half, line_width=3).draw(picture, [body])
    assert picture[50, 20:81, 0].tolist() == pytest.approx([100] * 61, abs=2)


def test_a_box_is_an_outline() -> None:
    picture = np.full((100, 200, 3), 100, np.uint8)
    body = pose((60, 50), box=(40.0, 20.0, 160.0, 80.0), track=3)
    Overlay(BODY, words("box"), line_width=2).draw(picture, [body])
    assert picture[50, 100].tolist() == [100, 100, 100]
    assert np.abs(picture[50, 39:41].astype(int) - track_color(3)[:3]).max() <= 15
    assert (picture[50, 30] == 100).all()


def test_boxes_fade_with_alpha() -> None:
    picture = np.full((100, 200, 3), 100, np.uint8)
    body = pose((60, 50), box=(40.0, 20.0, 160.0, 80.0))
    Overlay(BODY, words("box"), alpha=0).draw(picture, [body])
    assert (picture == 100).all()


# labels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(320, 240), (3840, 2160)])
@pytest.mark.parametrize("word", ["ids", "scores", "stats"])
def test_labels_are_light_text_on_dark_plates(size: tuple[int, int], word: str) -> None:
    picture = np.full((size[1], size[0], 3), 128, np.uint8)
    body = pose((size[0] / 2, size[1] / 2), (size[0] / 2 + 40, size[1] / 2 + 60))
    Overlay(BODY, words(word)).draw(picture, [body], {"frame": 3, "inference_ms": 4.25})
    plate = picture[:, :, 0] < 100
    text = picture[:, :, 0] > 160
    assert plate.any()
    rows = np.flatnonzero(text.any(axis=1))
    # capitals of 7 pixels at the least, and growing with the picture
    assert rows.size >= 6 * max(1, size[1] / 500)
    assert not text[~_grown(plate)].any()


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The bounding rectangle's rows and columns of a mask, as a mask."""
    return mask.any(axis=1)[:, None] & mask.any(axis=0)[None]


def test_labels_of_neighbours_do_not_cover_each_other() -> None:
    canvas = Canvas(black(640, 480))
    plates: list[tuple[int, int, int, int]] = []
    for x in (300, 310, 320, 330):
        plates.append(canvas.plate("#12 0.87", (x, 200), 9, above=True, taken=plates))
    for i, a in enumerate(plates):
        for b in plates[:i]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_who_is_outside_has_no_label() -> None:
    picture = black(320, 240)
    Overlay(BODY, words("ids,scores")).draw(picture, [pose((-500, 20), (-480, 90))])
    assert not picture.any()


def test_the_label_says_track_or_number_and_score() -> None:
    everything = Overlay(BODY, words("ids,scores,stats"))
    assert everything._label(pose((1, 1), track=7)) == "#7  87%"
    assert everything._label(pose((1, 1))) == "id 0  87%"
    assert Overlay(BODY, words("ids"))._label(pose((1, 1), track=7)) == "#7"
    assert not Overlay(BODY, words("stats"))._label(pose((1, 1), track=7))


FACES = Topology(
    "person", ("nose", "left_eye", "right_eye", "neck"), (), (), ((255, 255, 255, 255),) * 4
)


@pytest.mark.parametrize("far", [8, 20, 200])
def test_small_faces_stay_visible(far: int) -> None:
    points = [(100, 100), (100 + far / 2, 90), (100 - far / 2, 90), (100, 180)]
    body = Pose(0, np.array([(*p, 0.9) for p in points], np.float32), FACES.keypoints, score=0.87)
    picture = black(400, 400)
    Overlay(FACES, words("keypoints")).draw(picture, [body])
    nose, neck = ((picture[y - 9 : y + 9, 91:109, 0] > 127).sum() for y in (100, 180))
    assert neck == pytest.approx(np.pi * 16, rel=0.3)
    assert nose <= max(np.pi * 1.5**2, np.pi * (0.12 * far) ** 2) * 1.5


@pytest.mark.parametrize("size", [20, 60, 200])
def test_small_people_are_not_covered_by_their_dots(size: int) -> None:
    body = pose((200, 100), (200, 100 + size / 2), (200, 100 + size), links=())
    picture = black(400, 400)
    Overlay(BODY, words("keypoints")).draw(picture, [body])
    radius = min(4.0, max(1.5, 0.04 * size))
    assert (picture.max(axis=2) > 127).sum() == pytest.approx(3 * np.pi * radius**2, rel=0.35)


@pytest.mark.parametrize("top", [100, 12])
def test_plates_leave_the_head_free(top: int) -> None:
    points = [(100, top + 10), (110, top), (90, top), (100, top + 80)]
    body = Pose(0, np.array([(*p, 0.9) for p in points], np.float32), FACES.keypoints, score=0.87)
    picture = black(400, 400)
    Overlay(FACES, words("ids,scores")).draw(picture, [body])
    assert picture.any()
    assert not picture[max(0, top - 13) : top + 82].any()


def test_who_is_not_followed_yet_has_no_number_that_looks_like_a_tracks() -> None:
    new, known = pose((30, 60), (60, 90)), pose((130, 60), (160, 90), track=3)
    for tracked, numbers in ((False, 2), (True, 1)):
        picture = black(200, 200)
        Overlay(BODY, words("ids"), tracked=tracked).draw(picture, [new, known])
        columns = picture.any(axis=(0, 2))
        assert [columns[:100].any(), columns[100:].any()] == [numbers == 2, True]


def test_the_line_of_statistics() -> None:
    stats = {"fps": 30.6, "poses": 3, "frame": 12, "inference_ms": 8.26, "engine": "openvino"}
    assert stats_text(stats) == "frame 12  8.3 ms  3 poses  31 FPS  engine openvino"
    assert stats_text({"poses": 1}) == "1 pose"
    assert stats_text({"poses": 0}) == "0 poses"


def test_colours_of_tracks_in_a_row_differ() -> None:
    colors = np.array([track_color(t)[:3] for t in range(8)], int)
    apart = np.abs(colors[:, None] - colors[None]).sum(axis=2) + 1000 * np.eye(8, dtype=int)
    assert apart.min() > 40


# pictures and poses of every kind ------------------------------------------------------------------


def test_a_view_of_a_picture_is_drawn_in_place() -> None:
    whole = black(200, 100)
    body = pose((30, 40), (60, 70))
    mirrored = whole[:, ::-1]
    Overlay(BODY).draw(mirrored, [body])
    expected = black(200, 100)
    Overlay(BODY).draw(expected, [body])
    assert expected.any()
    assert (whole == expected[:, ::-1]).all()


def test_pictures_that_cannot_be_drawn_on() -> None:
    frozen = black(20, 20)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        Overlay(BODY).draw(frozen, [])
    with pytest.raises(ValueError, match="uint8"):
        Overlay(BODY).draw(np.zeros((20, 20, 4), np.uint8), [])


def test_none_draws_nothing() -> None:
    picture = black(50, 50)
    Overlay(BODY, words("none")).draw(picture, [pose((20, 20), (30, 30))], {"frame": 1})
    assert not picture.any()


def test_a_link_to_a_far_point_keeps_its_direction() -> None:
    near, far = black(200, 100), black(200, 100)
    only = (Link(0, 1, 1.0),)
    Overlay(BODY, words("links")).draw(near, [pose((20, 10), (420, 210), links=only)])
    # 5,000 times as far on the same line
    Overlay(BODY, words("links")).draw(far, [pose((20, 10), (2e6 + 20, 1e6 + 10), links=only)])
    assert np.abs(near.astype(int) - far).max() <= 25
    assert near[50, 95:105, 1].any()


coordinate = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=32),
    st.floats(-50, 400, width=32),
)
scores = st.sampled_from([0.0, 0.5, 1.0, float("nan")])


@settings(max_examples=150, deadline=None)
@given(
    points=st.lists(st.tuples(coordinate, coordinate, scores), min_size=3, max_size=3),
    box=st.tuples(coordinate, coordinate, coordinate, coordinate),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    alpha=st.sampled_from([255, 100]),
    track=st.one_of(st.none(), st.integers(0, 10**9)),
)
def test_no_pose_and_no_size_of_picture_breaks_it(
    points: list[tuple[float, float, float]],
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    alpha: int,
    track: int | None,
) -> None:
    picture = black(*size)
    links = (Link(0, 1, 1.0), Link(1, 2, 1.0), Link(2, 9, 1.0))
    wild = Pose(0, np.array(points, np.float32), NAMES, links, 0.5, box, track)
    Overlay(BODY, frozenset(WORDS), alpha=alpha).draw(picture, [wild, wild], {"frame": 1})
    assert picture.shape == (size[1], size[0], 3)


number = st.floats(-1000, 1000)


@given(number, number, number, number)
def test_a_clipped_segment_lies_inside_and_on_the_line(
    ax: float, ay: float, bx: float, by: float
) -> None:
    clipped = clip_segment((ax, ay), (bx, by), (0.0, 0.0, 100.0, 50.0))
    if clipped is None:
        # nothing of it is inside: no point of a fine walk along it
        t = np.linspace(0, 1, 101)
        x, y = ax + t * (bx - ax), ay + t * (by - ay)
        assert not ((x > 0.01) & (x < 99.99) & (y > 0.01) & (y < 49.99)).any()
        return
    for x, y in clipped:
        assert -1e-6 <= x <= 100 + 1e-6
        assert -1e-6 <= y <= 50 + 1e-6
        off = (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        assert abs(off) <= 1e-6 * max(1.0, math.hypot(bx - ax, by - ay)) * 1000
