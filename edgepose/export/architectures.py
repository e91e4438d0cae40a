"""Which networks can be exported: the name a user gives, the definition behind it, inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from edgepose.errors import UnknownNameError, UsageError
from edgepose.networks import registry
from edgepose.networks.manifest import InputSpec, Manifest, Weights
from edgepose.networks.topology import Topology

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
Size = tuple[int, int]


@dataclass(frozen=True)
class Architecture:
    """One definition.

    Attributes:
        name: of the network that it becomes.
        aliases: what the projects that train it call it.
        family: of the network.
        size: (width, height) it is trained at.
        multiple: sides are multiples of this.
        outputs: tensor names, in the order of the definition's answer.
        build: makes the module from (topology, size); imports torch.
        topology: default keypoints.
        unused: parts of checkpoints that the network does not need.
    """

    name: str
    aliases: tuple[str, ...]
    family: str
    size: Size
    multiple: int
    outputs: tuple[str, ...]
    build: Callable[[Topology, Size], Any]
    topology: str
    unused: tuple[str, ...] = ()


def _trt_pose(backbone: str) -> Callable[[Topology, Size], Any]:
    def build(topology: Topology, size: Size) -> Any:
        from edgepose.export.models.trt_pose import baseline_att

        return baseline_att(backbone, len(topology.keypoints), len(topology.links))

    return build


def _hrnet(width: int) -> Callable[[Topology, Size], Any]:
    def build(topology: Topology, size: Size) -> Any:
        from edgepose.export.models.hrnet import PoseHRNet

        return PoseHRNet(width, len(topology.keypoints))

    return build


def _simdr(width: int) -> Callable[[Topology, Size], Any]:
    def build(topology: Topology, size: Size) -> Any:
        from edgepose.export.models.hrnet import SimDR

        return SimDR(width, len(topology.keypoints), size)

    return build


def _bottom_up(backbone: str, what: str, side: int) -> Architecture:
    aliases = (
        (f"{backbone}_baseline_att",) if what == "body" else (f"{backbone}_baseline_att_hand",)
    )
    topology = "human_pose" if what == "body" else "hand_pose"
    unused = ("0.resnet.fc.",) if backbone.startswith("resnet") else ("0.densenet.classifier.",)
    return Architecture(
        f"{backbone}-{what}",
        aliases,
        "bottom-up",
        (side, side),
        32,
        ("cmap", "paf"),
        _trt_pose(backbone),
        topology,
        unused,
    )


ARCHITECTURES = (
    *(
        _bottom_up(backbone, what, side)
        for backbone, side in (
            ("resnet18", 224),
            ("resnet50", 256),
            ("densenet121", 256),
            ("densenet169", 256),
        )
        for what in ("body", "hand")
    ),
    *(
        Architecture(
            f"hrnet-w{w}",
            (f"pose_hrnet_w{w}", f"posehrnet-w{w}"),
            "top-down",
            (192, 256),
            32,
            ("heatmap",),
            _hrnet(w),
            "coco_17",
        )
        for w in (32, 48)
    ),
    *(
        Architecture(
            f"simdr-w{w}",
            (f"simdr_hrnet_w{w}",),
            "top-down",
            (192, 256),
            32,
            ("simcc_x", "simcc_y"),
            _simdr(w),
            "coco_17",
        )
        for w in (32, 48)
    ),
)


def find_architecture(name: str) -> Architecture:
    """The architecture of that name or alias.

    Raises:
        UnknownNameError: there is none.
    """
    wanted = registry.normalise(name)
    for a in ARCHITECTURES:
        if wanted in (registry.normalise(n) for n in (a.name, *a.aliases)):
            return a
    hint = "Only these can be made from a .pth file."
    raise UnknownNameError("network to export", name, [a.name for a in ARCHITECTURES], hint)


def check_size(architecture: Architecture, size: Size) -> Size:
    """The size, where the network can have it.

    Raises:
        UsageError: a side is not a multiple of the network's stride.
    """
    if any(n % architecture.multiple or n <= 0 for n in size):
        raise UsageError(
            f"{architecture.name} takes sides that are multiples of {architecture.multiple}, not "
            f"{size[0]}x{size[1]}."
        )
    return size


def manifest_of(architecture: Architecture, name: str, size: Size, topology: str) -> Manifest:
    """The manifest that an exported network is installed under.

    The known one where name, size and topology are its own; else one of its own, which `install`
    writes beside the weights.
    """
    known = _known(name)
    if known and (known.input.width, known.input.height) == size and known.topology == topology:
        return known
    like = _known(architecture.name)
    spec = like.input if like else InputSpec(name="input", **IMAGENET)  # type: ignore[arg-type]
    base = like or Manifest(name, "bottom-up", decoder={"type": "paf"})
    return replace(
        base,
        name=name,
        description=f"{architecture.name} {size[0]}x{size[1]}, exported from a checkpoint",
        aliases=(),
        input=replace(spec, name="input", width=size[0], height=size[1]),
        outputs={name: name for name in architecture.outputs},
        topology=topology,
        weights={"FP32": Weights(f"{name}.onnx")},
        metrics={},
        notes="",
        path=None,
    )


def _known(name: str) -> Manifest | None:
    try:
        found = registry.find(name)
    except UnknownNameError:
        return None
    return found if registry.normalise(found.name) == registry.normalise(name) else None
