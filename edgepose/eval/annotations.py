"""Ground truth: a COCO keypoint file and the pictures beside it, keypoints mapped by name."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from edgepose.errors import SourceError, UsageError
from edgepose.json_file import read_json
from edgepose.networks.keypoint_names import places

log = logging.getLogger(__name__)

MOST = 1e9  # beyond it no coordinate makes sense


class LabelledPicture(NamedTuple):
    """One image of the file."""

    id: int
    file: str
    width: int
    height: int


@dataclass(frozen=True)
class Annotations:
    """A COCO keypoint file.

    Attributes:
        path: where it came from.
        data: the decoded file, as COCO's tools take it.
        keypoints: names of the first category, in its order.
        category: its number.
        pictures: the images, in the order of the file.
        sigmas: OKS constants of the keypoints, () = COCO's by name.
        others: numbers of the other categories with the same keypoints, which count as well.
    """

    path: Path
    data: Mapping[str, Any]
    keypoints: tuple[str, ...]
    category: int
    pictures: tuple[LabelledPicture, ...]
    sigmas: tuple[float, ...] = ()
    others: tuple[Any, ...] = ()

    def limited(self, count: int) -> Annotations:
        """The first `count` images only, 0 = all."""
        return replace(self, pictures=self.pictures[:count]) if count else self

    @property
    def categories(self) -> set[Any]:
        """Numbers of all categories that count."""
        return {self.category, *self.others}

    @property
    def people(self) -> list[dict[str, Any]]:
        """Annotations of the images, of the category and those like it."""
        ids, categories = {p.id for p in self.pictures}, self.categories
        rows: Sequence[dict[str, Any]] = self.data["annotations"]
        return [
            a
            for a in rows
            if a["image_id"] in ids and a.get("category_id", self.category) in categories
        ]


def load_annotations(path: Path) -> Annotations:
    """Read a COCO keypoint file.

    Raises:
        SourceError: it cannot be read.
        UsageError: it is not a COCO keypoint file.
    """
    try:
        data = read_json(path)
    except OSError as e:
        raise SourceError(f"Annotations {path} cannot be read: {e.strerror or e}.") from None
    except ValueError as e:
        raise UsageError(f"Annotations {path} is not JSON: {e}.") from None
    try:
        bodies = [c for c in data["categories"] if c.get("keypoints")]
        number, names = bodies[0]["id"], _names(bodies[0])
        others = tuple(_identity(c["id"]) for c in bodies[1:] if _names(c) == names)
        pictures = tuple(
            LabelledPicture(
                _identity(i["id"]), str(i["file_name"]), int(i["width"]), int(i["height"])
            )
            for i in data["images"]
        )
        found = Annotations(path, data, names, int(number), pictures, others=others)
        _check_ids(found)
        _check_people(found.people, names)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as e:
        raise UsageError(
            f"Annotations {path} is not a COCO keypoint file (images, annotations, categories with "
            f"keypoints): {type(e).__name__} {e}."
        ) from None
    if not pictures:
        raise UsageError(f"Annotations {path} names no image.")
    if not found.people:
        raise UsageError(f"Annotations {path} label nobody of category {number} in its images.")
    left = [str(c.get("name", c["id"])) for c in bodies if _names(c) != names]
    if left:
        log.warning("%s: who is %s does not count: other keypoints.", path, " or ".join(left))
    return found


def _names(category: Mapping[str, Any]) -> tuple[str, ...]:
    names = tuple(str(k) for k in category["keypoints"])
    if len(set(names)) < len(names):
        raise ValueError(f"category {category['id']} names a keypoint twice")
    return names


def _identity(value: Any) -> Any:
    if not isinstance(value, int | str):
        raise ValueError("an id is a number or a text")
    return value


def _check_ids(found: Annotations) -> None:
    """Nobody is left out in silence because of how an id is written."""
    images = [p.id for p in found.pictures]
    if len(set(images)) < len(images):
        raise ValueError("two images have one id")
    rows = found.data["annotations"]
    _check_kind("image_id", (a["image_id"] for a in rows), images)
    named = (a["category_id"] for a in rows if a.get("category_id") is not None)
    _check_kind("category_id", named, found.categories)


def _check_kind(field: str, values: Iterable[Any], ids: Iterable[Any]) -> None:
    known = {str(i): i for i in ids}
    for value in map(_identity, values):
        meant = known.get(str(value), value)
        if isinstance(meant, str) != isinstance(value, str):
            raise ValueError(f"{field} {value!r} is written {meant!r} elsewhere")


def _check_people(rows: Any, names: Sequence[str]) -> None:
    wanted = {"keypoints": 3 * len(names), "bbox": 4, "area": 0, "torso": 0, "score": 0}
    for row in rows:
        for field, length in wanted.items():
            value = row.get(field)
            numbers = value if length else [value]
            if value is None:
                continue
            if length and len(numbers) != length:
                raise ValueError(f"annotation {row.get('id')} has {len(numbers)} {field} numbers")
            if not all(isinstance(n, int | float) and abs(n) < MOST for n in numbers):
                raise ValueError(f"annotation {row.get('id')}: {field} holds no number")
            if field in ("area", "bbox") and min(numbers[2:] or numbers) < 0:
                raise ValueError(f"annotation {row.get('id')}: {field} is below 0")
        if row.get("iscrowd") not in (None, 0, 1):
            raise ValueError(f"annotation {row.get('id')}: iscrowd is 0 or 1")


def find_pictures(annotations: Annotations, folder: Path) -> list[Path]:
    """The image file of each picture: in the folder, or where a path in the file leads from it.

    Raises:
        SourceError: some are missing; says how many and names one.
    """
    if not folder.is_dir():
        raise SourceError(f"--images {folder} is not a folder.")
    files, missing = [], []
    for picture in annotations.pictures:
        named = folder / picture.file
        file = named if os.path.isfile(named) else folder / Path(picture.file).name
        files.append(file)
        if not os.path.isfile(file):  # unlike Path's, False for names that are none
            missing.append(picture.file)
    if missing:
        raise SourceError(
            f"--images {folder} has not {len(missing)} of the {len(files)} images that "
            f"{annotations.path.name} names, for example {missing[0]}."
        )
    return files


def match_names(network: Sequence[str], wanted: Sequence[str]) -> tuple[int, ...]:
    """For each wanted keypoint its number in the network, -1 where the network has none of that name.

    Raises:
        UsageError: they have no name in common.
    """
    exact = {name: i for i, name in enumerate(network)}
    found = (
        exact.get(name, number)
        for name, number in zip(wanted, places(network, wanted), strict=True)
    )
    order = tuple(-1 if number is None else number for number in found)
    if all(n < 0 for n in order):
        raise UsageError(
            f"The network finds {', '.join(network[:4])}, ...; the annotations have "
            f"{', '.join(wanted[:4])}, ...: no keypoint in common. Use annotations of the same kind."
        )
    return order
