"""Top-down end to end: coloured dots as keypoints, a hand-made detector, and the real networks."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgepose.engines import EngineOptions
from edgepose.errors import EngineError, NetworkFileError, UsageError
from edgepose.estimators.base import EstimatorOptions
from edgepose.estimators.crops import detector_options
from edgepose.estimators.detector import Detector
from edgepose.estimators.people import Limits, make_poses
from edgepose.estimators.top_down import TopDown
from edgepose.geometry import box_iou
from edgepose.networks import registry
from edgepose.networks.manifest import InputSpec, Manifest
from edgepose.networks.resolve import Network, resolve
from edgepose.networks.topology import Topology, load_topology
from edgepose.paths import data_networks
from edgepose.timing import Stopwatch
from edgepose.types import Frame, Pose
from tests.conftest import Material

DOTS = Topology("person", ("left_dot", "right_dot", "blue"), ((0, 1), (1, 2)))
LEFT, RIGHT = (8, 10, 44, 58, 0.9), (52, 12, 88, 60, 0.8)
ENGINE = EngineOptions(engine="onnxruntime", threads=1)


def detector_network(model: Path, **decoder: Any) -> Network:
    spec = InputSpec(width=100, height=80, scale=1, resize="stretch", pad=114)
    manifest = Manifest("boxes", "detector", input=spec, decoder={"type": "nms", **decoder})
    return Network(manifest, model, None)


def pose_network(model: Path, kind: str, **decoder: Any) -> Network:
    spec = InputSpec(width=48, height=64, scale=255.0)
    manifest = Manifest(
        "dots", "top-down", input=spec, decoder={"type": kind, "padding": 1.0, **decoder}
    )
    return Network(manifest, model, DOTS)


def options(detector: Network, **more: Any) -> EstimatorOptions:
    return EstimatorOptions(detector=detector, engine=ENGINE, min_keypoints=1, **more)


def picture(width: int = 100, height: int = 80) -> np.ndarray:
    """Three dots in each of the two boxes: red, green and blue."""
    pixels = np.zeros((80, 100, 3), np.uint8)
    for x, y, channel in (
        *((15, 20, 0), (35, 22, 1), (25, 50, 2)),
        *((60, 25, 0), (80, 30, 1), (70, 52, 2)),
    ):
        cv2.circle(pixels, (x, y), 2, [255 * (c == channel) for c in range(3)], -1)
    if (width, height) != (100, 80):
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    return pixels


TRUTH = np.array([[[15, 20], [35, 22], [25, 50]], [[60, 25], [80, 30], [70, 52]]], float)


def xy(poses: Sequence[Pose]) -> np.ndarray:
    return np.array([p.points[:, :2] for p in poses])


@pytest.mark.parametrize(
    ("head", "more", "tolerance"),
    [
        ("heatmap", {"refine": "quarter"}, 2.5),
        ("simcc", {"split": 1.0}, 2.5),
    ],
)
@pytest.mark.parametrize("flip", [False, True])
def test_dots_are_found_where_they_are(
    head: str,
    more: dict[str, Any],
    tolerance: float,
    flip: bool,
    make_detector: Callable[..., Path],
    make_pose: Callable[..., Path],
) -> None:
    boxes = detector_network(make_detector([LEFT, RIGHT]))
    network = pose_network(make_pose(head), head, **more)
    if flip:
        # "left" and "right" would be exchanged: give the dots names without sides
        plain = Topology("person", ("red", "green", "blue"), DOTS.links)
        network = Network(network.manifest, network.model, plain)
    estimator = TopDown.load(network, options(boxes, flip_test=flip))
    watch = Stopwatch()
    ((first, second),) = [estimator.estimate([Frame(picture())], watch)[0]]
    np.testing.assert_allclose(xy([first, second]), TRUTH, atol=tolerance)
    assert first.score > second.score > 0.3
    np.testing.assert_allclose(first.box, LEFT[:4], atol=1e-4)
    assert (first.id, second.id) == (0, 1)
    assert [(link.a, link.b) for link in first.links] == [(0, 1), (1, 2)]
    assert set(watch.stages) == {"preprocess", "network", "postprocess"}
    assert estimator.topology.flip_pairs == ((0, 1, 2) if flip else (1, 0, 2))
    estimator.close()
    estimator.close()


def test_direct_keypoints_lie_in_the_middle_of_each_box(
    make_detector: Callable[..., Path], make_pose: Callable[..., Path]
) -> None:
    boxes = detector_network(make_detector([LEFT, RIGHT]))
    estimator = TopDown.load(pose_network(make_pose("keypoints"), "keypoints"), options(boxes))
    poses = estimator.estimate([Frame(picture())], Stopwatch())[0]
    np.testing.assert_allclose(xy(poses)[:, 0], [[26, 34], [70, 36]], atol=1e-3)
    with pytest.raises(UsageError, match="--flip-test works with"):
        TopDown.load(
            pose_network(make_pose("keypoints"), "keypoints"), options(boxes, flip_test=True)
        )


@pytest.mark.parametrize("batch", ["batch", 1, 4])
@pytest.mark.parametrize("most", [1, 3, 8])
def test_batches_do_not_change_the_answer(
    batch: int | str,
    most: int,
    make_detector: Callable[..., Path],
    make_pose: Callable[..., Path],
) -> None:
    """Dynamic and fixed batches, chunks of every size, several frames of different sizes at once."""
    boxes = detector_network(make_detector([LEFT, RIGHT, (5, 5, 95, 75, 0.5)]))
    network = pose_network(make_pose("simcc", batch), "simcc", split=1.0)
    estimator = TopDown.load(network, options(boxes, batch=most))
    frames = [Frame(picture()), Frame(picture(200, 160)), Frame(np.zeros((80, 100, 3), np.uint8))]
    together = estimator.estimate(frames, Stopwatch())
    assert [len(p) for p in together] == [3, 3, 0]  # nothing scores in the black frame
    one_by_one = [estimator.estimate([f], Stopwatch())[0] for f in frames]
    for a, b in zip(together, one_by_one, strict=True):
        np.testing.assert_allclose(xy(a), xy(b))
        assert [p.id for p in a] == list(range(len(a)))
    np.testing.assert_allclose(xy(together[1])[:2], TRUTH * 2, atol=5)


@pytest.mark.parametrize(("people", "most", "runs"), [(1, 8, 1), (8, 8, 1), (9, 8, 2), (40, 16, 3)])
def test_n_people_cost_one_detector_and_n_by_batch_pose_runs(
    people: int,
    most: int,
    runs: int,
    make_detector: Callable[..., Path],
    make_pose: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crowd = detector_network(make_detector([(*LEFT[:4], 0.9)] * people))
    network = pose_network(make_pose("simcc"), "simcc", split=1.0)
    estimator = TopDown.load(network, options(crowd, batch=most))
    counts: dict[str, int] = {}

    def count(name: str, owner: Any, attribute: str) -> None:
        plain = getattr(owner, attribute)

        def counted(*args: Any, **more: Any) -> Any:
            counts[name] = counts.get(name, 0) + 1
            return plain(*args, **more)

        monkeypatch.setattr(owner, attribute, counted)

    count("detector", estimator.detector._runner.engine, "infer")
    count("pose", estimator.engine, "infer")
    count("warps", cv2, "warpAffine")
    assert len(estimator.estimate([Frame(picture())], Stopwatch())[0]) == people
    assert counts == {"detector": 1, "pose": runs, "warps": people}


def test_strange_boxes_do_no_harm(
    make_detector: Callable[..., Path], make_pose: Callable[..., Path]
) -> None:
    strange = [
        (-50, -50, 400, 400, 0.9),  # larger than the picture
        (60, 25, 61, 26, 0.8),  # one pixel, red
        (200, 200, 300, 300, 0.8),  # outside
        (30, 30, 30, 50, 0.8),  # no width
        (50, 40, 20, 10, 0.8),  # inside out
        (90, 70, 140, 120, 0.7),  # across the corner
    ]
    estimator = TopDown.load(
        pose_network(make_pose("heatmap"), "heatmap"),
        options(detector_network(make_detector(strange)), threshold=0.0),
    )
    poses = estimator.estimate([Frame(picture())], Stopwatch())[0]
    assert 1 <= len(poses) <= 3
    for pose in poses:
        assert all(0 <= k.x <= 100 and 0 <= k.y <= 80 and 0 < k.score <= 1 for k in pose.keypoints)
        assert 0 <= pose.box[0] < pose.box[2] <= 100
        assert 0 <= pose.box[1] < pose.box[3] <= 80


class OnDevice:
    """Pixels in GPU memory, as PyCUDA arrays are: a shape and `get`."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels
        self.shape = pixels.shape

    def get(self) -> np.ndarray:
        return self._pixels


def test_frames_on_the_device_are_fetched_for_cpu_engines(
    make_detector: Callable[..., Path], make_pose: Callable[..., Path]
) -> None:
    boxes = detector_network(make_detector([LEFT, RIGHT]))
    estimator = TopDown.load(pose_network(make_pose("simcc"), "simcc", split=1.0), options(boxes))
    (host,) = estimator.estimate([Frame(picture())], Stopwatch())
    (device,) = estimator.estimate([Frame(OnDevice(picture()))], Stopwatch())
    np.testing.assert_array_equal(xy(host), xy(device))


def test_what_lies_outside_the_picture_is_missing() -> None:
    rows = np.zeros((1, 3, 3), np.float32)
    rows[0] = [[10, 10, 0.9], [50, 83, 0.9], [50, 95, 0.9]]  # 3 and 15 below a picture of 80
    limits = Limits(0.1, 1, 0.0)
    frame = Frame(np.zeros((80, 100, 3), np.uint8))
    (pose,) = make_poses(rows, np.ones(1), None, DOTS, frame, limits)
    assert list(pose) == ["left_dot", "right_dot"]
    assert (pose["right_dot"].x, pose["right_dot"].y) == (50, 80)
    assert [(link.a, link.b) for link in pose.links] == [(0, 1)]
    assert make_poses(rows[:0], np.ones(0), None, DOTS, frame, limits) == ()


def test_no_score_leaves_its_range() -> None:
    """Maxima of SimCC go beyond 1, and below 0 where nothing is seen."""
    rows = np.array([[[10, 10, 1.7], [50, 60, 1.3], [50, 70, -0.2]]])
    frame = Frame(np.zeros((80, 100, 3), np.uint8))
    (pose,) = make_poses(rows, np.array([1.1]), None, DOTS, frame, Limits(-1, 1, 0.0))
    assert (pose.score, [k.score for k in pose.values()]) == (1, [1, 1])


def test_nobody_one_limit_and_two_hundred_people(
    make_detector: Callable[..., Path], make_pose: Callable[..., Path]
) -> None:
    network = pose_network(make_pose("simcc"), "simcc", split=1.0)
    nobody = detector_network(make_detector([(0, 0, 50, 50, 0.1)], "nobody.onnx"))
    estimator = TopDown.load(network, options(nobody))
    assert estimator.estimate([Frame(picture())] * 2, Stopwatch()) == [(), ()]
    assert estimator.estimate([], Stopwatch()) == []
    crowd = [(*LEFT[:4], 0.5 + 0.002 * i) for i in range(200)]
    many = detector_network(make_detector(crowd, "crowd.onnx"))
    found = TopDown.load(network, options(many)).estimate([Frame(picture())], Stopwatch())[0]
    assert len(found) == 200
    few = TopDown.load(network, options(many, max_people=2)).estimate(
        [Frame(picture())], Stopwatch()
    )[0]
    assert len(few) == 2
    assert few[0].score == pytest.approx(found[0].score)
    strict = TopDown.load(network, options(many, box_threshold=0.79))
    assert len(strict.estimate([Frame(picture())], Stopwatch())[0]) == 54


def test_wrong_heads_say_what_was_found(
    make_detector: Callable[..., Path], make_pose: Callable[..., Path]
) -> None:
    boxes = detector_network(make_detector([LEFT]))
    with pytest.raises(NetworkFileError, match=r"48 and 64 bins, found heatmap"):
        TopDown.load(pose_network(make_pose("heatmap"), "simcc", split=1.0), options(boxes))
    with pytest.raises(NetworkFileError, match=r"heatmaps, found simcc_x \[-1, 3, 48\]"):
        TopDown.load(pose_network(make_pose("simcc"), "heatmap"), options(boxes))
    # a pose network in the detector's place
    wrong = Network(boxes.manifest, make_pose("simcc"), None)
    with pytest.raises(UsageError, match=r"fixed input of 48x64"):
        TopDown.load(
            pose_network(make_pose("simcc"), "simcc", split=1.0),
            options(wrong, detector_size=640),
        )
    estimator = TopDown.load(pose_network(make_pose("simcc"), "simcc", split=1.0), options(wrong))
    with pytest.raises(EngineError, match=r"simcc_x.*--detector"):
        estimator.estimate([Frame(picture())], Stopwatch())


def test_detector_and_network_must_go_together(
    make_detector: Callable[..., Path], make_pose: Callable[..., Path], shared: Path
) -> None:
    boxes = detector_network(make_detector([LEFT]))
    dots = pose_network(make_pose("heatmap"), "heatmap")
    with pytest.raises(UsageError, match="not a detector"):
        TopDown.load(dots, options(dots))
    with pytest.raises(UsageError, match="names no detector"):
        TopDown.load(dots, EstimatorOptions(engine=ENGINE))
    hand = hand_network()
    with pytest.raises(UsageError, match="--detector mediapipe-palm"):
        TopDown.load(hand, options(boxes))
    with pytest.raises(UsageError, match="needs plain boxes"):
        TopDown.load(dots, options(palm_network()))


# the real networks ------------------------------------------------------------------------------
def hand_network() -> Network:
    model = data_networks() / "mediapipe-hand.onnx"
    return Network(registry.find("mediapipe-hand"), model, load_topology("mediapipe_hand"))


def palm_network() -> Network:
    model = data_networks() / "mediapipe-palm.onnx"
    return Network(registry.find("mediapipe-palm"), model, None)


def rgb(path: Path) -> np.ndarray:
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


@pytest.fixture(scope="module")
def hands() -> TopDown:
    return TopDown.load(hand_network(), options(palm_network()))


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_a_raised_hand_at_every_turn(turn: int, hands: TopDown, shared: Path) -> None:
    """Two fingers up, the others bent; wherever up is."""
    image = rgb(shared / "datasets/people/images/intel_asl_no_00040.jpg")
    upright = Frame(image[20:150, 30:180].copy())  # the raised hand alone
    (pose,) = hands.estimate([upright], Stopwatch())[0]
    assert set(pose) == set(hands.topology.keypoints)
    up = {name: pose["wrist"].y - pose[name].y for name in pose}
    assert up["middle_finger_tip"] > up["middle_finger_mcp"] > up["thumb_cmc"] > 0
    assert up["little_finger_tip"] < up["index_finger_tip"] / 2
    assert pose.box == (
        min(k.x for k in pose.keypoints),
        min(k.y for k in pose.keypoints),
        max(k.x for k in pose.keypoints),
        max(k.y for k in pose.keypoints),
    )
    turned = Frame(np.ascontiguousarray(np.rot90(upright.pixels, turn)))
    (found,) = hands.estimate([turned], Stopwatch())[0]
    points = found.points[:, :2]
    back = _turn_back(points, turn, upright.width, upright.height)
    length = np.ptp(pose.points[:, 1])
    assert np.abs(back - pose.points[:, :2]).mean() < 0.1 * length


def _turn_back(points: np.ndarray, turn: int, width: int, height: int) -> np.ndarray:
    """Points of a picture that np.rot90 turned counterclockwise, in the upright one."""
    x, y = points.T
    if turn == 1:
        return np.stack([width - y, x], axis=1)
    if turn == 2:
        return np.stack([width - x, height - y], axis=1)
    return np.stack([y, height - x], axis=1) if turn == 3 else points


def test_two_hands_of_one_person_and_none(hands: TopDown, shared: Path) -> None:
    both = Frame(rgb(shared / "datasets/people/images/intel_asl_sister_00050.jpg"))
    nothing = Frame(np.full((200, 300, 3), 90, np.uint8))
    found = hands.estimate([both, nothing], Stopwatch())
    assert [len(p) for p in found] == [2, 0]
    left, right = sorted(found[0], key=lambda p: p["wrist"].x)
    assert right["wrist"].x - left["wrist"].x > 30
    # the fingers of both point at each other
    assert left["middle_finger_mcp"].x > left["wrist"].x
    assert right["middle_finger_mcp"].x < right["wrist"].x


def test_people_of_real_pictures_with_real_networks(shared: Path, hpe_int8: Path) -> None:
    """YOLOX-nano, then Intel's network on each person: its maps serve as heatmaps of a crop.

    Mistakes of a few pixels anywhere between the picture and the maps cost most of this accuracy.
    """
    pytest.importorskip("pycocotools", reason="the eval extra is not installed")
    from edgepose.eval.annotations import load_annotations
    from edgepose.eval.figures import coco_figures
    from edgepose.eval.run import evaluate

    own = registry.find("human-pose-estimation-0001")
    manifest = Manifest(
        "crops",
        "top-down",
        input=own.with_input(width=192, height=256).input,
        outputs={"heatmap": own.outputs["cmap"]},
        decoder={"type": "heatmap", "centred": True},
    )
    network = Network(manifest, hpe_int8, load_topology("openpose_18"))
    people = Network(
        registry.find("yolox-nano"), shared / "networks/yolox-nano/yolox_nano_416.onnx", None
    )
    engine = EngineOptions(shape=(256, 192), threads=1)
    estimator = TopDown.load(
        network, EstimatorOptions(detector=people, engine=engine, threshold=0.05)
    )
    data = shared / "datasets/coco-mini"
    truth = load_annotations(data / "person_keypoints.json").limited(20)
    figures = coco_figures(truth, evaluate(estimator, truth, data / "images").rows)
    estimator.close()
    assert figures["AP"] > 0.2
    assert figures["AR50"] > 0.45


def test_the_embedded_detector_is_the_published_one_for_people(shared: Path) -> None:
    """Its other classes are gone, and padding is left out; boxes and scores are as they were."""
    onnx = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = onnx.InferenceSession(str(data_networks() / "yolox-nano.onnx"))
    pixels = np.random.default_rng(3).uniform(0, 255, (1, 3, 416, 416)).astype(np.float32)
    (people,) = session.run(None, {"images": pixels})
    whole = np.load(shared / "oracle/yolox-nano.npz")["answers"]  # boxes and the first class
    np.testing.assert_allclose(people[..., :4], whole[..., :4], atol=0.3)  # weights are fp16
    np.testing.assert_allclose(people[..., 4:], whole[..., 4:6], atol=0.005)
    (wide,) = session.run(None, {"images": np.repeat(pixels[:, :, :256], 2, axis=0)})
    assert wide.shape == (2, 32 * 52 + 16 * 26 + 8 * 13, 6)


def test_a_detector_sees_each_picture_without_needless_padding() -> None:
    detector = Detector.load(
        resolve("yolox-nano"), EstimatorOptions(engine=EngineOptions(threads=1))
    )
    frames = [
        Frame(np.full((h, w, 3), 90, np.uint8)) for w, h in ((640, 360), (640, 360), (360, 640))
    ]
    specs = [detector._runner.spec_of(f) for f in frames]
    assert [(s.width, s.height) for s in specs] == [(416, 256), (416, 256), (256, 416)]
    found = detector.detect(frames, Stopwatch())
    detector.close()
    assert [len(r.scores) for r in found] == [0, 0, 0]


def test_a_manifest_may_ask_more_of_its_detector() -> None:
    manifest = Manifest("n", "top-down", decoder={"box_score": 0.2, "box_nms": 0.6})
    chosen = detector_options(manifest, EstimatorOptions())
    assert (chosen.box_threshold, chosen.nms_threshold) == (0.2, 0.6)
    own = detector_options(manifest, EstimatorOptions(box_threshold=0.5))
    assert (own.box_threshold, own.nms_threshold) == (0.5, 0.6)
    assert detector_options(Manifest("n", "top-down"), EstimatorOptions()) == EstimatorOptions()


@pytest.mark.parametrize(
    ("name", "file", "least"),
    [
        ("yolox-nano", "yolox-nano/yolox_nano_416.onnx", 0.5),
        (  # made for the whole figures that a ceiling camera sees
            "person-detection-retail-0013",
            "person-detection-retail-0013/FP16/person-detection-retail-0013.xml",
            0.3,
        ),
    ],
)
def test_real_detectors_find_the_annotated_people(
    name: str, file: str, least: float, shared: Material
) -> None:
    model = data_networks() / f"{name}.onnx"
    if not model.exists() or shared.find(f"networks/{file}"):
        model = shared / f"networks/{file}"
    if model.suffix == ".xml":
        pytest.importorskip("openvino", reason="the openvino extra is not installed")
    network = Network(registry.find(name), model, None)
    detector = Detector.load(network, EstimatorOptions(engine=EngineOptions(threads=1)))
    data = json.loads((shared / "datasets/coco-mini/person_keypoints.json").read_text())
    hits = large = 0
    for image in data["images"][:16]:
        pixels = rgb(shared / "datasets/coco-mini/images" / image["file_name"])
        (found,) = detector.detect([Frame(pixels)], Stopwatch())
        assert (np.diff(found.scores) <= 0).all()
        for row in data["annotations"]:
            x, y, w, h = row["bbox"]
            if row["image_id"] == image["id"] and w * h > (0.15 * image["width"]) ** 2:
                large += 1
                iou = box_iou(np.array([[x, y, x + w, y + h]]), found.boxes)
                hits += bool(iou.size and iou.max() > 0.5)
    detector.close()
    assert large > 10
    assert hits / large > least


@pytest.mark.parametrize(
    ("names", "message"),
    [(("left_dot", "right_dot", "l_hand"), "'l_hand' of topology"), (("L_a", "b", "c"), "'L_a'")],
)
def test_a_flip_test_needs_both_sides(
    names: tuple[str, ...],
    message: str,
    make_detector: Callable[..., Path],
    make_pose: Callable[..., Path],
) -> None:
    network = pose_network(make_pose("heatmap"), "heatmap")
    network = Network(network.manifest, network.model, Topology("person", names, DOTS.links))
    boxes = detector_network(make_detector([LEFT, RIGHT]))
    with pytest.raises(UsageError, match=message):
        TopDown.load(network, options(boxes, flip_test=True))
    TopDown.load(network, options(boxes)).close()


def test_a_flip_test_without_sides_is_said(
    make_detector: Callable[..., Path],
    make_pose: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    network = pose_network(make_pose("heatmap"), "heatmap")
    network = Network(
        network.manifest, network.model, Topology("person", ("a", "b", "c"), DOTS.links)
    )
    boxes = detector_network(make_detector([LEFT, RIGHT]))
    TopDown.load(network, options(boxes, flip_test=True)).close()
    assert "no keypoint of topology 'person' has a side" in caplog.text


@pytest.mark.parametrize("batch", [1, 2, 3, 4])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_list_as_long_as_the_batch_is_not_cut(
    batch: int, frames: int, tmp_path: Path, make_pose: Callable[..., Path]
) -> None:
    """A detector of a fixed batch that finds two boxes in the first picture of each run, (2, 7)."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    h, f = onnx.helper, onnx.TensorProto.FLOAT
    rows = np.float32([[0, *LEFT[:4], 0, 0.9], [0, *RIGHT[:4], 0, 0.8]])
    nodes = [
        h.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
        h.make_node("Mul", ["mean", "nought"], ["nothing"]),
        h.make_node("Add", ["nothing", "rows"], ["output"]),
    ]
    parts = [
        onnx.numpy_helper.from_array(np.float32(0), "nought"),
        onnx.numpy_helper.from_array(rows, "rows"),
    ]
    graph = h.make_graph(
        nodes,
        "detector",
        [h.make_tensor_value_info("images", f, [batch, 3, 80, 100])],
        [h.make_tensor_value_info("output", f, [2, 7])],
        parts,
    )
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "list.onnx")
    boxes = detector_network(tmp_path / "list.onnx")
    estimator = TopDown.load(pose_network(make_pose("simcc"), "simcc", split=1.0), options(boxes))
    found = estimator.estimate([Frame(picture())] * frames, Stopwatch())
    assert [len(poses) for poses in found] == [2 if i % batch == 0 else 0 for i in range(frames)]
    estimator.close()


def test_hands_say_which_they_are(hands: TopDown, shared: Path) -> None:
    """She faces the camera: her right hand is at the left of the picture; a mirror exchanges them."""
    pixels = rgb(shared / "datasets/people/images/intel_asl_sister_00050.jpg")
    plain, turned = hands.estimate(
        [Frame(pixels), Frame(np.ascontiguousarray(pixels[:, ::-1]))], Stopwatch()
    )
    for poses, expected in ((plain, ["right", "left"]), (turned, ["right", "left"])):
        in_order = sorted(poses, key=lambda p: p["wrist"].x)
        assert [p.handedness for p in in_order] == expected
