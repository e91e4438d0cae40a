"""Ground truth: a COCO keypoint file and the pictures beside it, keypoints mapped by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from edgepose.errors import SourceError, UsageError
from edgepose.json_file import read_json
from edgepose.networks.keypoint_names import place_name

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
    """

    path: Path
    data: Mapping[str, Any]
    keypoints: tuple[str, ...]
    category: int
    pictures: tuple[LabelledPicture, ...]
    sigmas: tuple[float, ...] = ()

    def limited(self, count: int) -> Annotations:
        """The first `count` images only, 0 = all."""
        return replace(self, pictures=self.pictures[:count]) if count else self

    @property
    def people(self) -> list[dict[str, Any]]:
        """Annotations of the images, of the category."""
        ids = {p.id for p in self.pictures}
        rows: Sequence[dict[str, Any]] = self.data["annotations"]
        return [
            a
            for a in rows
            if a["image_id"] in ids and a.get("category_id", self.category) == self.category
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
        category = next(c for c in data["categories"] if c.get("keypoints"))
        names = tuple(str(k) for k in category["keypoints"])
        pictures = tuple(
            LabelledPicture(
                _identity(i["id"]), str(i["file_name"]), int(i["width"]), int(i["height"])
            )
            for i in data["images"]
        )
        number = int(category["id"])
        _check_people(data["annotations"], names)
    except (KeyError, TypeError, StopIteration, ValueError, AttributeError) as e:
        raise UsageError(
            f"Annotations {path} is not a COCO keypoint file (images, annotations, categories with "
            f"keypoints): {type(e).__name__} {e}."
        ) from None
    if not pictures:
        raise UsageError(f"Annotations {path} names no image.")
    return Annotations(path, data, names, number, pictures)


def _identity(value: Any) -> Any:
    if not isinstance(value, int | str):
        raise ValueError("the id of an image is a number or a text")
    return value


def _check_people(rows: Any, names: Sequence[str]) -> None:
    wanted = {"keypoints": 3 * len(names), "bbox": 4, "area": 0, "torso": 0, "score": 0}
    for row in rows:
        _identity(row["image_id"])
        for field, length in wanted.items():
            value = row.get(field)
            numbers = value if length else [value]
            if value is None:
                continue
            if length and len(numbers) != length:
                raise ValueError(f"annotation {row.get('id')} has {len(numbers)} {field} numbers")
            if not all(isinstance(n, int | float) and abs(n) < MOST for n in numbers):
                raise ValueError(f"annotation {row.get('id')}: {field} holds no number")


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
        file = named if named.is_file() else folder / Path(picture.file).name
        files.append(file)
        if not file.is_file():
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
    numbers = {place_name(name): i for i, name in reversed(list(enumerate(network)))}
    exact = {name: i for i, name in enumerate(network)}
    order = tuple(exact.get(name, numbers.get(place_name(name), -1)) for name in wanted)
    if all(n < 0 for n in order):
        raise UsageError(
            f"The network finds {', '.join(network[:4])}, ...; the annotations have "
            f"{', '.join(wanted[:4])}, ...: no keypoint in common. Use annotations of the same kind."
        )
    return order
