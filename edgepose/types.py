"""The nouns that travel between the stages: frames, poses, results, tensors.

Coordinates are image pixels (x to the right, y down, the centre of the top left pixel at
0.5, 0.5) and scores lie in 0..1 unless a name says otherwise. Boxes are (left, top, right, bottom).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgepose.joints import angle_at, neighbours

AnyArray = NDArray[Any]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
Int32Array = NDArray[np.int32]
Int64Array = NDArray[np.int64]
Pixels = NDArray[np.uint8]  # a picture, RGB (height, width, 3)
FEWER_BITS = 4096  # 16-bit pictures that stay below hold fewer bits, 0..255 or distances
Shape = tuple[int, ...]
Box = tuple[float, float, float, float]


@runtime_checkable
class Planar(Protocol):
    """Pixels as a decoder gave them, of which RGB is made for who needs it."""

    @property
    def shape(self) -> Shape:
        """(height, width, 3)."""
        ...

    @property
    def on_device(self) -> bool:
        """Whether they, and the RGB of them, live in GPU memory."""
        ...

    def rgb(self) -> Any:
        """uint8 RGB (height, width, 3), on the device where they are there; made once."""
        ...


class _Rgb:
    """`Frame.pixels`: what a frame was given, as RGB where that is `Planar`."""

    def __get__(self, frame: Any, owner: type | None = None) -> Any:
        if frame is None:
            raise AttributeError("pixels")  # the field has no default
        given = frame.as_given
        return given.rgb() if isinstance(given, Planar) else given

    def __set__(self, frame: Any, pixels: Any) -> None:
        frame.__dict__["as_given"] = pixels


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    Attributes:
        pixels: uint8 RGB, shape (height, width, 3); a numpy array on the host, or anything with
            `__cuda_array_interface__` on the device. May be given as `Planar`: read as RGB then, made
            at the first look.
        as_given: the pixels as they were given, `Planar` too.
        index: number of the frame in its source, from 0; a file's own numbering, gaps where a live
            source dropped frames.
        pts: presentation time in seconds from the start of the source, None for still images.
        source: where it comes from: a path, or a URI without credentials.
        name: short name of the source (for outputs that carry names over, and `{name}`).
        captured: `time.monotonic()` when a live frame arrived; None for files.
        expected: where its people are, where that is known: float64 (N, 5), xyxy in pixels and score. None =
            they are looked for.
    """

    pixels: Any = _Rgb()
    index: int = 0
    pts: float | None = None
    source: str = ""
    name: str = ""
    captured: float | None = None
    expected: Float64Array | None = None

    if TYPE_CHECKING:

        @property
        def as_given(self) -> Any: ...

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.as_given.shape[0])

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.as_given.shape[1])

    @property
    def still(self) -> bool:
        """True for a picture of its own, read from where its source says: no time, no camera."""
        return bool(self.source) and self.pts is None and self.captured is None

    @property
    def on_device(self) -> bool:
        """True where the pixels live in GPU memory only."""
        given = self.as_given
        return given.on_device if isinstance(given, Planar) else not isinstance(given, np.ndarray)

    def expecting(self, expected: Float64Array | None) -> Frame:
        """The same frame with other people expected; of planes no RGB is made."""
        changed = copy(self)
        changed.__dict__["expected"] = expected
        return changed


@dataclass(frozen=True, slots=True)
class Keypoint:
    """One keypoint of a pose: its number and name in the topology, image pixels, score 0..1."""

    id: int
    name: str
    x: float
    y: float
    score: float

    # jetson-inference's spelling
    @property
    def ID(self) -> int:
        """Alias of `id`."""
        return self.id


@dataclass(frozen=True, slots=True)
class Link:
    """A matched connection of two keypoints, by their numbers in the topology, with a score 0..1."""

    a: int
    b: int
    score: float


class Gesture(NamedTuple):
    """What a person or a hand does: name, score 0..1, seconds since it began (0 without tracking)."""

    name: str
    score: float
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Pose(Mapping[str, Keypoint]):
    """One person (or hand): a mapping from keypoint name to `Keypoint`, detected ones only.

    Attributes:
        id: number within the frame, from 0 without gaps.
        points: float32 (K, 3): x, y in image pixels and score for every keypoint of the topology;
            a score of 0 means not detected (x and y are then NaN).
        names: the K keypoint names, in the topology's order.
        links: matched links.
        score: 0..1, the mean score of the detected keypoints unless the family defines another.
        box: (left, top, right, bottom) in image pixels.
        track: track id where tracking runs, else None.
        handedness: "left" or "right" of hands where the network tells, else ""; of a mirrored picture
            the other one is meant.
        gestures: what the person does, where that is asked for; the most telling first, as the rules are ordered.

    >>> import numpy as np
    >>> points = np.array([[12, 20, 0.9], [np.nan, np.nan, 0], [40, 22, 0.8]], np.float32)
    >>> pose = Pose(0, points, ("nose", "left_eye", "right_eye"), links=(Link(0, 2, 0.7),), score=0.85)
    >>> list(pose)  # what was found, by name
    ['nose', 'right_eye']
    >>> pose["nose"].x, "left_eye" in pose
    (12.0, False)
    >>> pose.FindKeypoint("right_eye"), pose.Links  # jetson-inference's spelling
    (1, [(0, 1)])
    """

    id: int
    points: Float32Array
    names: tuple[str, ...]
    links: tuple[Link, ...] = ()
    score: float = 0.0
    box: Box = (0.0, 0.0, 0.0, 0.0)
    track: int | None = None
    handedness: str = ""
    gestures: tuple[Gesture, ...] = ()

    @property
    def gesture(self) -> str:
        """Name of the most telling gesture, "" where there is none."""
        return self.gestures[0].name if self.gestures else ""

    @cached_property
    def keypoints(self) -> tuple[Keypoint, ...]:
        """The detected keypoints in ascending number."""
        return tuple(
            Keypoint(i, name, float(x), float(y), float(s))
            for i, (name, (x, y, s)) in enumerate(zip(self.names, self.points, strict=True))
            if s > 0
        )

    @cached_property
    def _by_name(self) -> dict[str, Keypoint]:
        return {k.name: k for k in self.keypoints}

    def __getitem__(self, name: str) -> Keypoint:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        track = "" if self.track is None else f" track {self.track}"
        found = f"{len(self)} of {len(self.names)} keypoints"
        return f"<Pose {self.id}{track} {self.score:.2f} {found}>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> AnyArray:
        """`points`, so that numpy takes a pose as an array (K, 3)."""
        return np.array(self.points, dtype, copy=True if copy is None else copy)

    def angle(self, joint: str, *others: str) -> float:
        """The angle at a joint in degrees: 180 straight, 0 folded; NaN where a keypoint is missing.

        Args:
            joint: shoulder, elbow, hip or knee with its side ("left_elbow"), or a knuckle of a hand; or,
                with two more names, the first of three keypoints: the angle is that at the second.

        Raises:
            KeyError: no such keypoint, or one that has no two neighbours.
        """
        names = (joint, *others) if others else neighbours(joint, self.names)
        if len(names) != 3:
            raise KeyError(f"an angle needs one keypoint or three, not {len(names)}")
        before, at, after = (
            self.points[self._number(name), :2].astype(np.float64) for name in names
        )
        return angle_at(before, at, after)

    def with_(self, **changes: Any) -> Pose:
        """A copy with some fields replaced."""
        # much faster than dataclasses.replace: every pose of every frame comes here several times
        changed = object.__new__(Pose)
        fields = changed.__dict__
        fields.update(self.__dict__)
        # what it keeps beside its fields once it was asked for
        fields.pop("keypoints", None)
        fields.pop("_by_name", None)
        if not changes.keys() <= fields.keys():
            raise TypeError(f"a pose has no field {', '.join(changes.keys() - fields.keys())}")
        fields.update(changes)
        return changed

    # jetson-inference's spellings -------------------------------------------------------------
    @property
    def ID(self) -> int:
        """Alias of `id`."""
        return self.id

    @property
    def Left(self) -> float:
        """Left edge of the box."""
        return self.box[0]

    @property
    def Top(self) -> float:
        """Top edge of the box."""
        return self.box[1]

    @property
    def Right(self) -> float:
        """Right edge of the box."""
        return self.box[2]

    @property
    def Bottom(self) -> float:
        """Bottom edge of the box."""
        return self.box[3]

    @property
    def ROI(self) -> Box:
        """The box as (left, top, right, bottom)."""
        return self.box

    @property
    def Keypoints(self) -> tuple[Keypoint, ...]:
        """Alias of `keypoints`."""
        return self.keypoints

    @property
    def Links(self) -> list[tuple[int, int]]:
        """Links as pairs of positions in `Keypoints` (not keypoint numbers), as jetson-inference."""
        at = {k.id: i for i, k in enumerate(self.keypoints)}
        return [(at[link.a], at[link.b]) for link in self.links if link.a in at and link.b in at]

    def _number(self, key: int | str) -> int:
        if isinstance(key, str):
            if key not in self.names:
                raise KeyError(f"no keypoint named {key!r}; there are {', '.join(self.names)}")
            return self.names.index(key)
        return key

    def FindKeypoint(self, key: int | str) -> int:
        """Position in `Keypoints` of a keypoint given by number or name, -1 where not detected.

        Raises:
            KeyError: the topology has no keypoint of that name.
        """
        number = self._number(key)
        return next((i for i, k in enumerate(self.keypoints) if k.id == number), -1)

    def FindLink(self, a: int | str, b: int | str) -> int:
        """Position in `Links` of the link between two keypoints (either order), -1 where absent."""
        pair = {self._number(a), self._number(b)}
        return next((i for i, link in enumerate(self.links) if {link.a, link.b} == pair), -1)


@dataclass(frozen=True)
class Result:
    """All that was found in one frame, as the sinks write it.

    Attributes:
        frame, pts, source, name, width, height: of the frame it belongs to.
        poses: the poses, ids from 0 without gaps.
        network, engine: names of what found them.
        inference_ms: time of the network alone (all networks of a top-down pair together).
        stages: milliseconds by stage name (decode, preprocess, network, postprocess, ...).
    """

    frame: int
    width: int
    height: int
    poses: tuple[Pose, ...] = ()
    pts: float | None = None
    source: str = ""
    name: str = ""
    network: str = ""
    engine: str = ""
    inference_ms: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)


class TensorSpec(NamedTuple):
    """Name, shape (-1 = dynamic) and numpy dtype of an input or output of an engine."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
