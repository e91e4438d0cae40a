"""Augmentation: one affine warp an image, mosaics of two or four, colour, cut-outs.

Numpy and OpenCV only. Everything random comes from the generator passed in, so that a batch is a
function of (seed, batch number) and a resumed run sees what an uninterrupted one would.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .dataset import FLIP, LINKS, Sample

Array = NDArray[Any]
PAD = (116, 116, 116)  # about zero after normalisation; what the manifest asks for
STRIDE = 4  # the finest map of the network, on which masks are drawn


@dataclass(frozen=True)
class Recipe:
    """How strongly samples are changed."""

    rotation: float = 30.0  # degrees, everybody
    tumble: float = 0.25  # share of `tumblers` turned by any angle
    tumblers: tuple[str, ...] = ("lspet",)
    zoom: tuple[float, float] = (-0.20, 0.55)  # log of the scale against the letterboxed image
    focus: float = 0.30  # share scaled by one person's size instead of the image's
    wander: float = 0.12  # share that looks closely at any place: things, rooms, parts of people
    mosaic: float = 0.30
    flip: float = 0.5
    cutout: float = 0.2
    missing: float = 0.25  # loss weight near a person where a joint was looked for and not found


@dataclass
class Scene:
    """One augmented canvas: pixels (uint8 HWC), people (n, 18, 3), weights of the loss.

    weights: (39, h/4, w/4) uint8, 255 = full, 18 keypoint channels then 21 link channels.
    """

    pixels: Array
    keypoints: Array
    weights: Array


def affine(
    scale: float, degrees: float, centre: tuple[float, float], to: tuple[float, float], flip: bool
) -> Array:
    """(2, 3) matrix: mirror, rotate and scale about `centre`, which lands on `to`."""
    a = np.deg2rad(degrees)
    linear = scale * np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    if flip:
        linear = linear @ np.diag([-1.0, 1.0])
    return np.hstack([linear, (np.array(to) - linear @ np.array(centre))[:, None]])


def move_points(keypoints: Array, matrix: Array, flip: bool) -> Array:
    """Keypoints (n, 18, 3) under the matrix; a mirror also exchanges left and right."""
    moved = keypoints.copy()
    moved[:, :, :2] = keypoints[:, :, :2] @ matrix[:, :2].T + matrix[:, 2]
    return moved[:, FLIP] if flip else moved


def warp(
    pixels: Array, matrix: Array, width: int, height: int, pad: tuple[int, int, int] = PAD
) -> Array:
    """Pixels under the matrix, which speaks of pixel corners (0.5 = first centre) as keypoints do."""
    if np.sqrt(abs(np.linalg.det(matrix[:, :2]))) < 0.6:  # bilinear alone would alias
        h, w = pixels.shape[:2]
        pixels = cv2.resize(pixels, (-(-w // 2), -(-h // 2)), interpolation=cv2.INTER_AREA)
        ratio = np.array([w / pixels.shape[1], h / pixels.shape[0], 1.0])
        return warp(pixels, matrix * ratio, width, height, pad)
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
    return cv2.warpAffine(pixels, shifted, (width, height), flags=cv2.INTER_LINEAR, borderValue=pad)


def choose_affine(
    sample: Sample,
    width: int,
    height: int,
    recipe: Recipe,
    rng: np.random.Generator,
    fill: bool = False,
) -> tuple[Array, bool]:
    """A random placement of a sample on a width x height canvas, and whether it is mirrored.

    Args:
        fill: start halfway between the whole image and no padding, for the parts of a mosaic.
    """
    h, w = sample.pixels.shape[:2]
    letterbox = min(width / w, height / h)
    if fill:
        letterbox = (letterbox * max(width / w, height / h)) ** 0.5
    scale = letterbox * float(np.exp(rng.uniform(*recipe.zoom)))
    centre = np.array([w / 2, h / 2])
    spread = 0.12 * min(width, height)
    seen = [p[p[:, 2] > 0, :2] for p in sample.keypoints]
    chance = rng.random()
    if chance < recipe.wander:
        scale = letterbox * float(np.exp(rng.uniform(0.3, 1.0)))
        centre = rng.uniform(0.1, 0.9, 2) * (w, h)
    elif seen and chance < recipe.wander + recipe.focus:
        points = seen[rng.integers(len(seen))]
        low, high = points.min(0), points.max(0)
        size = max(float((high - low).max()), 24.0)
        wanted = min(width, height) * float(np.exp(rng.uniform(np.log(0.3), np.log(0.95))))
        scale = float(np.clip(wanted / size, 0.4 * letterbox, 2.6 * letterbox))
        centre = (low + high) / 2
    if sample.source in recipe.tumblers and rng.random() < recipe.tumble:
        degrees = float(rng.uniform(-180, 180))
    else:
        degrees = float(
            np.clip(rng.normal(0, recipe.rotation / 2), -recipe.rotation, recipe.rotation)
        )
    to = np.array([width, height]) / 2 + rng.normal(0, spread, 2)
    flip = bool(rng.random() < recipe.flip)
    return affine(scale, degrees, (centre[0], centre[1]), (to[0], to[1]), flip), flip


def jitter(pixels: Array, rng: np.random.Generator) -> Array:
    """Brightness, contrast, gamma and colour balance by one table; sometimes grey or blurred."""
    ramp = np.arange(256, dtype=np.float32)[:, None] / 255
    gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.07, 3))
    table = (ramp ** np.exp(rng.normal(0, 0.2)) - 0.5) * gain + 0.5 + rng.normal(0, 0.08)
    pixels = cv2.LUT(pixels, (np.clip(table, 0, 1) * 255).astype(np.uint8)[None])
    if rng.random() < 0.08:
        pixels = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < 0.08:
        pixels = cv2.blur(pixels, (3, 3))
    return pixels


def cells(
    width: int, height: int, recipe: Recipe, rng: np.random.Generator
) -> list[tuple[int, int, int, int]]:
    """How the canvas is divided: x, y, w, h of one, two, four or nine parts, in whole cells."""
    if rng.random() >= recipe.mosaic:
        return [(0, 0, width, height)]
    x = int(rng.uniform(0.35, 0.65) * width) // STRIDE * STRIDE
    y = int(rng.uniform(0.35, 0.65) * height) // STRIDE * STRIDE
    layout = rng.random()
    if layout < 0.25:  # nine small ones: people of 20 to 60 pixels
        xs = [i * width // STRIDE // 3 * STRIDE for i in range(4)]
        ys = [i * height // STRIDE // 3 * STRIDE for i in range(4)]
        return [
            (xs[i], ys[j], xs[i + 1] - xs[i], ys[j + 1] - ys[j]) for j in range(3) for i in range(3)
        ]
    if layout < 0.45:
        return [(0, 0, x, height), (x, 0, width - x, height)]
    if layout < 0.65:
        return [(0, 0, width, y), (0, y, width, height - y)]
    return [
        (0, 0, x, y),
        (x, 0, width - x, y),
        (0, y, x, height - y),
        (x, y, width - x, height - y),
    ]


def place(
    sample: Sample,
    width: int,
    height: int,
    recipe: Recipe,
    rng: np.random.Generator,
    fill: bool = False,
) -> Scene:
    """One sample on a canvas of its own (`fill`: see choose_affine)."""
    matrix, flip = choose_affine(sample, width, height, recipe, rng, fill)
    keypoints = move_points(sample.keypoints, matrix, flip)
    grey = PAD if rng.random() < 0.7 else (int(rng.integers(256)),) * 3
    return Scene(
        pixels=jitter(warp(sample.pixels, matrix, width, height, grey), rng),
        keypoints=keypoints,
        weights=loss_weights(sample, keypoints, matrix, width, height, recipe),
    )


def loss_weights(
    sample: Sample, keypoints: Array, matrix: Array, width: int, height: int, recipe: Recipe
) -> Array:
    """Where the loss looks: not at ignore regions, hardly at joints nobody labelled.

    Near labelled keypoints the loss puts full weight back (the caller knows the targets).
    """
    h, w = height // STRIDE, width // STRIDE
    plain = np.full((h, w), 255, np.uint8)
    for x, y, rw, rh in sample.ignore:
        corners = np.array([[x, y], [x + rw, y], [x + rw, y + rh], [x, y + rh]])
        moved = (corners @ matrix[:, :2].T + matrix[:, 2]) / STRIDE - 0.5
        cv2.fillConvexPoly(plain, np.rint(moved).astype(np.int32), 0)
    weights = np.repeat(plain[None], keypoints.shape[1] + len(LINKS), 0)
    for person, complete in zip(keypoints, sample.complete, strict=True):
        _soften(weights, person, recipe.missing if complete else 0.0)
    return weights


def _soften(weights: Array, person: Array, level: float) -> None:
    known = person[:, 2] > 0
    if known.all() or not known.any():
        return
    low, high = person[known, :2].min(0), person[known, :2].max(0)
    margin = 0.2 * (high - low).max() + 4
    h, w = weights.shape[1:]
    x0, y0 = np.clip((low - margin) / STRIDE, 0, (w, h)).astype(int)
    x1, y1 = np.clip((high + margin) / STRIDE + 1, 0, (w, h)).astype(int)
    channels = np.concatenate([~known, ~(known[LINKS[:, 0]] & known[LINKS[:, 1]])])
    part = weights[channels, y0:y1, x0:x1]
    weights[channels, y0:y1, x0:x1] = np.minimum(part, int(255 * level))


def cut_out(pixels: Array, rng: np.random.Generator) -> None:
    """Paint one or two small rectangles over the picture; the joints below stay wanted."""
    h, w = pixels.shape[:2]
    for _ in range(int(rng.integers(1, 3))):
        rw, rh = (rng.uniform(0.06, 0.2, 2) * (w, h)).astype(int)
        x, y = int(rng.integers(0, w - rw)), int(rng.integers(0, h - rh))
        pixels[y : y + rh, x : x + rw] = rng.integers(0, 256, 3)


def compose(
    samples: list[Sample], pick: Any, size: int, recipe: Recipe, rng: np.random.Generator
) -> Scene:
    """One training canvas of size x size: a single sample or a mosaic of several.

    Args:
        samples: the pool.
        pick: callable giving the next index into it from the generator.
    """
    scenes: list[Scene] = []
    canvas = np.empty((size, size, 3), np.uint8)
    weights = np.empty((18 + len(LINKS), size // STRIDE, size // STRIDE), np.uint8)
    parts = cells(size, size, recipe, rng)
    for x, y, w, h in parts:
        scene = place(samples[pick(rng)], w, h, recipe, rng, fill=len(parts) > 1)
        canvas[y : y + h, x : x + w] = scene.pixels
        s = STRIDE
        weights[:, y // s : (y + h) // s, x // s : (x + w) // s] = scene.weights
        if len(parts) > 1:
            scene.keypoints = _inside(scene.keypoints, w, h)
        scene.keypoints[:, :, :2] += (x, y)
        scenes.append(scene)
    if rng.random() < recipe.cutout:
        cut_out(canvas, rng)
    return Scene(canvas, np.concatenate([s.keypoints for s in scenes]), weights)


def _inside(keypoints: Array, width: int, height: int) -> Array:
    """Drop keypoints off the canvas: in a mosaic they would land on a neighbour."""
    x, y = keypoints[:, :, 0], keypoints[:, :, 1]
    kept = keypoints.copy()
    kept[:, :, 2] *= (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return kept[kept[:, :, 2].any(1)]
