"""What each command takes: a class of options, whose docstring is its help. posenet's stand in `edgepose/options.py`."""

# fmt: off
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from edgepose.options import (
    AsJson,
    EngineChoice,
    EstimatorChoice,
    GestureWords,
    NetworkChoice,
    Option,
    TalkChoice,
)

NoDownload = Annotated[bool, Option("Never fetch a network.")]


@dataclass(frozen=True)
class Download:
    """Fetch networks, check them and install them. Prints the path of each model file.

      edgepose download resnet18-body

      edgepose download human-pose-estimation-0001:FP16

      edgepose download --all

      edgepose download resnet18-body --from ~/Downloads/Pose-ResNet18-Body.tar.gz

      edgepose download --all --bundle networks.tar     (then, on a machine without a network:)

      edgepose download --from networks.tar

    `edgepose networks` lists what there is. A broken transfer goes on where it ended. EDGEPOSE_HOME says where
    networks go, EDGEPOSE_MIRROR names an address to ask first, HTTPS_PROXY a proxy; EDGEPOSE_OFFLINE=1
    forbids the network.
    """

    names: Annotated[tuple[str, ...], Option(metavar="[NAME[:VARIANT]]...", argument=True)] = ()
    all_: Annotated[bool, Option("All networks whose addresses are known.")] = False
    variant: Annotated[str, Option("Variant of the weights, for example FP16; also NAME:FP16.")] = ""
    from_: Annotated[Path | None, Option("Take it from a file, a folder or a bundle instead of the network.")] = None
    offline: Annotated[bool, Option("Never use the network.")] = False
    bundle: Annotated[Path | None, Option("Write the named networks (default: all that are installed) to this tar.", writes=True)] = None
    force: Annotated[bool, Option("Install again what is there.")] = False
    no_verify: Annotated[bool, Option("With --from: take a file that is not as published.")] = False
    trust: Annotated[bool, Option("With --from BUNDLE: let it replace networks that edgepose ships, or their checksums.")] = False
    repin: Annotated[bool, Option("Accept another file than at the first download.")] = False
    timeout: Annotated[float, Option("Seconds without a byte before a new attempt.", least=0.1, most=3600)] = 20.0
    tries: Annotated[int, Option("Attempts at each address.", least=1, most=100)] = 4
    talk: TalkChoice = TalkChoice()


@dataclass(frozen=True)
class Networks:
    """`edgepose networks` without a command; its help stands with the groups."""

    json: AsJson = False


@dataclass(frozen=True)
class NetworksShow:
    """Print all that is known about a network.

      edgepose networks show movenet-multipose --verify
    """

    name: Annotated[str, Option("Network or alias.", argument=True)]
    json: AsJson = False
    verify: Annotated[bool, Option("Compare the installed files with their record.")] = False


@dataclass(frozen=True)
class NetworksRemove:
    """Delete an installed network.

      edgepose networks remove human-pose-estimation-0001 --variant FP16
    """

    name: Annotated[str, Option("Network or alias.", argument=True)]
    variant: Annotated[str, Option("Only this variant of the weights.")] = ""


@dataclass(frozen=True)
class BuildChoice:
    """How a TensorRT engine is built."""

    PANEL: ClassVar[str] = "How to build"

    workspace: Annotated[int, Option("Memory that the build may use; 0 = by what is free.", metavar="MIB", least=0)] = 0
    dla: Annotated[int | None, Option("Build for a deep learning accelerator (Orin, Xavier; fp16 or int8).", metavar="0|1", least=0)] = None
    optimization_level: Annotated[int | None, Option("How hard the builder tries; 5 is slowest and best.", metavar="0-5", least=0, most=5)] = None
    timing_cache: Annotated[Path | None, Option("Measured kernel times. [default: one for each GPU and version]", metavar="FILE", writes=True)] = None
    hardware_compatible: Annotated[bool, Option("One engine for this and newer GPU families (desktop only; slower).")] = False
    engine: Annotated[str, Option("tensorrt, tensorrt_rtx or auto.")] = "auto"
    device: Annotated[str, Option("Number of the GPU.")] = ""
    force: Annotated[bool, Option("Build even where an engine is there, and int8 whatever it loses.")] = False


@dataclass(frozen=True)
class BuildEngine:
    """Build the TensorRT engine of a network for this GPU and keep it; prints its path.

    NETWORK is a name (see `edgepose networks`) or an ONNX file. posenet builds by itself at first use; this
    command does it ahead, with more choices. An engine that is there and fits is not built again.

      edgepose build-engine resnet18-body

      edgepose build-engine rtmpose-m --batch 1:4:8

      edgepose build-engine mine.onnx --shape 192x256 --precision fp32

      edgepose build-engine resnet18-body --precision int8 --calibration ~/pictures

    Sizes are WIDTHxHEIGHT, as everywhere. TensorRT's own order is understood where a word or the whole tensor
    says so: --shape hxw:256x192, --shape 1x3x256x192. Ctrl-C cancels (TensorRT 10 and later), and nothing
    half-built stays behind.
    """

    network: Annotated[str, Option("Network or file.", metavar="NETWORK|FILE.onnx", argument=True)]
    precision: Annotated[str, Option("fp32, fp16, int8 or best (int8 where --calibration is given). [default: fp16]")] = ""
    batch: Annotated[str, Option("Frames (or people) in one run, for networks with a dynamic batch. [default: 1]", metavar="N|MIN:OPT:MAX")] = ""
    shape: Annotated[str, Option("Input size, for networks that take several. [default: the network's]", metavar="WxH|hxw:HxW|NxCxHxW")] = ""
    variant: Annotated[str, Option("Variant of a named network's weights.")] = ""
    calibration: Annotated[Path | None, Option("Pictures for int8, like those it will see; a few hundred are enough.", metavar="FOLDER")] = None
    like: Annotated[str, Option("With FILE.onnx: prepare calibration pictures (and choose the size) as this network does.", metavar="NETWORK")] = ""
    how: BuildChoice = BuildChoice()
    output: Annotated[Path | None, Option("Write a copy here, with its .json.", "-o", metavar="FILE.engine", writes=True)] = None
    no_download: NoDownload = False
    json: AsJson = False
    talk: TalkChoice = TalkChoice()


@dataclass(frozen=True)
class EnginesList:
    """List the cached engines and whether they fit this machine.

      edgepose engines list --json
    """

    json: AsJson = False


Engine = Annotated[str, Option("Network, file or digest, as `list` shows them.", metavar="ENGINE", argument=True)]


@dataclass(frozen=True)
class EnginesShow:
    """Print what an engine was built from, and what differs here.

      edgepose engines show resnet18-body
    """

    name: Engine
    json: AsJson = False


@dataclass(frozen=True)
class EnginesPrune:
    """Remove engines that are damaged or do not fit this machine.

      edgepose engines prune --dry-run

      edgepose engines prune --older-than 30
    """

    all_: Annotated[bool, Option("Remove all engines.")] = False
    older_than: Annotated[float | None, Option("Also those built so long ago.", metavar="DAYS", least=0)] = None
    dry_run: Annotated[bool, Option("Only say what would be removed.", "-n")] = False
    json: AsJson = False


@dataclass(frozen=True)
class EnginesExport:
    """Copy an engine and its .json to a file or folder.

      edgepose engines export resnet18-body /media/usb
    """

    name: Engine
    output: Annotated[Path, Option("File.engine, or a folder.", metavar="OUTPUT", argument=True, writes=True)]


@dataclass(frozen=True)
class EnginesImport:
    """Take engines with their .json from elsewhere.

      edgepose engines import /media/usb
    """

    files: Annotated[tuple[Path, ...], Option("Engines, or folders of them.", metavar="FILE...", argument=True)]


@dataclass(frozen=True)
class Export:
    """Turn a PyTorch checkpoint (.pth) into an ONNX network and install it by name.

    NAME is the network that the checkpoint was trained as: resnet18-body, resnet18-hand, densenet121-body, resnet50-body,
    densenet169-body (trt_pose's ..._baseline_att), hrnet-w32, hrnet-w48, simdr-w32, simdr-w48. Needs the extra `export`
    (PyTorch, CPU). No code from the file is run. The ONNX file's path is printed on stdout.

      edgepose export resnet18-body resnet18_baseline_att_224x224_A_epoch_249.pth

      edgepose export hrnet-w48 pose_hrnet_w48_384x288.pth --size 288x384

      edgepose export resnet18-body mine.pth --topology mine.json --name mine -o mine.onnx
    """

    network: Annotated[str, Option("What the checkpoint was trained as.", metavar="NAME", argument=True)]
    checkpoint: Annotated[Path, Option("The .pth file.", metavar="CHECKPOINT", argument=True)]
    output: Annotated[Path | None, Option("Write the ONNX file here too.", "-o", metavar="FILE.onnx", writes=True)] = None
    size: Annotated[str, Option("Input size. [default: that of the network]", metavar="WxH")] = ""
    topology: Annotated[str, Option("Keypoints and links that it was trained with: name or file. [default: the network's]")] = ""
    batch: Annotated[int, Option("Fixed batch; 0 = dynamic.", least=0, most=1024)] = 0
    name: Annotated[str, Option("Install under this name. [default: NAME, with the size where it is another]")] = ""
    install: Annotated[bool, Option("Install as a named network.", off="--no-install")] = True
    json: AsJson = False


@dataclass(frozen=True)
class Eval:
    """Measure the accuracy and speed of a network on annotated pictures.

    The pictures go through the same engine and options as with posenet, so that the losses of fp16 and int8 show. The
    annotations are a COCO keypoint file; keypoints are matched by name. AP counts every pose by its score, so
    --threshold is low where it is not given: 0.1 for bottom-up networks, 0 for the others.

      edgepose eval --network human-pose-estimation-0001 --annotations person_keypoints.json --images val2017

      edgepose eval --network rtmpose-m --annotations person_keypoints.json --images val2017 --compare openvino --json

      edgepose eval --network accurate --annotations val.json --images images --pck
    """

    annotations: Annotated[Path, Option("COCO keypoint file.")]
    images: Annotated[Path, Option("Folder of the pictures.")]
    limit: Annotated[int, Option("The first N pictures only; 0 = all.", least=0)] = 0
    pck: Annotated[bool, Option("PCK@0.2 of the torso instead of COCO's figures, for sets with one annotated person a picture.")] = False
    sigmas: Annotated[str, Option("OKS constants of the annotations' keypoints. [default: the topology's, else COCO's by name]", metavar="A,B,...|FILE.json")] = ""
    json: AsJson = False
    compare: Annotated[str, Option("Measure with this engine too, and show the difference.", metavar="ENGINE[:PRECISION]")] = ""
    results: Annotated[Path | None, Option("Write what was found in COCO's result format.", metavar="FILE.json", writes=True)] = None
    resume: Annotated[bool, Option("Go on where an interrupted run of the same measurement ended.")] = False
    network: NetworkChoice = NetworkChoice()
    estimator: EstimatorChoice = EstimatorChoice()
    engine: EngineChoice = EngineChoice()
    talk: TalkChoice = TalkChoice()


@dataclass(frozen=True)
class FileChoice:
    """How films and pictures are read."""

    PANEL: ClassVar[str] = "Input"

    input_width: Annotated[int, Option("Width to scale to.", "--width", least=0, most=16384)] = 0
    input_height: Annotated[int, Option("Height, likewise.", "--height", least=0, most=16384)] = 0
    input_rate: Annotated[float, Option("At most so many frames a second of a film.", "--framerate", least=0, most=1e6)] = 0.0
    input_flip: Annotated[str, Option("none, counterclockwise, rotate-180, clockwise, horizontal, vertical, upper-right-diagonal, upper-left-diagonal.", "--flip-method")] = "none"
    list_: Annotated[Path | None, Option("Names of more inputs, one a line.", metavar="FILE")] = None


@dataclass(frozen=True)
class WorkerChoice:
    """Who does the work."""

    PANEL: ClassVar[str] = "Workers"

    workers: Annotated[int, Option("How many. One works in this process; more need edgepose[cluster].", least=1, most=100_000)] = 1
    cluster: Annotated[str, Option("A Ray cluster that runs already; this machine must be one of its nodes.", metavar="HOST:PORT|auto")] = ""
    cpus_per_worker: Annotated[float, Option("CPU cores of each; also the threads of its engine where --threads is not given.", least=0.01, most=4096)] = 1.0
    gpus_per_worker: Annotated[float, Option("GPUs of each, such as 0.5.", least=0, most=64)] = 0.0
    mixed_engines: Annotated[bool, Option("Workers may infer with different engines; poses differ a little then.")] = False
    attempts: Annotated[int, Option("Tries of a part that kills its worker, until it is set aside.", least=1, most=1000)] = 3


@dataclass(frozen=True)
class Batch:
    """Find the poses in many films and pictures: in this process, on all cores, or on a Ray cluster.

    INPUTS are films, pictures, folders of both, and quoted patterns. The rows go into DIR as Parquet, one file a film; they
    are those of posenet, with the same tracks. Whatever ends the job, the same command goes on where it was.

      edgepose batch films/ --out poses

      edgepose batch "films/**/*.mp4" --out poses --track --workers 4

      edgepose batch --list films.txt --out /shared/poses --cluster auto --workers 16 --gpus-per-worker 0.5

      edgepose batch films/ --out poses --dry-run

    Then: edgepose batch status DIR, edgepose batch check DIR, edgepose batch export DIR --json FILE.

    Exit codes: 0 all done, 3 some inputs failed or are damaged (see manifest.parquet), 1 all failed or the job cannot go
    on, 2 options that cannot be meant, 130 interrupted.
    """

    inputs: Annotated[tuple[str, ...], Option(metavar="[INPUT]...", argument=True)] = ()
    out: Annotated[Path | None, Option("Folder of the results; with --cluster one that all nodes share.", "-o", metavar="DIR")] = None
    dry_run: Annotated[bool, Option("Only say what there is to do, and about how long it takes.")] = False
    retry_failed: Annotated[bool, Option("Try again what was set aside.")] = False
    overwrite: Annotated[bool, Option("Delete the results of an earlier job in DIR and begin anew.")] = False
    segment: Annotated[float, Option("Films are cut into parts of about so many seconds, at key frames.", metavar="SECONDS", least=0.1, most=86400)] = 60.0
    shard: Annotated[int, Option("Pictures in one part.", least=1, most=100_000)] = 256
    track: Annotated[bool, Option("Follow people: a track id that stays the same over a film.")] = False
    smooth: Annotated[bool, Option("Smooth the keypoints of tracks; implies --track.")] = False
    gestures: GestureWords = ""
    zones: Annotated[Path | None, Option("Zones and lines (JSON): enter and exit events in DIR/events; implies --track.")] = None
    progress: Annotated[str, Option("What is said of the progress: text, or JSON lines on stdout.", metavar="text|json")] = "text"
    workers: WorkerChoice = WorkerChoice()
    files: FileChoice = FileChoice()
    network: NetworkChoice = NetworkChoice()
    estimator: EstimatorChoice = EstimatorChoice()
    engine: EngineChoice = EngineChoice()
    talk: TalkChoice = TalkChoice()


JobFolder = Annotated[Path, Option("Folder of the job.", metavar="DIR", argument=True)]


@dataclass(frozen=True)
class BatchStatus:
    """Say how far a job is; from any machine that sees its folder, while it runs.

      edgepose batch status poses
    """

    folder: JobFolder
    json: AsJson = False


@dataclass(frozen=True)
class BatchCheck:
    """Read all results of a job again: every frame once, every file whole, none of another source.

    Writes manifest.parquet anew. Exit code 1 where something is wrong.

      edgepose batch check poses
    """

    folder: JobFolder


@dataclass(frozen=True)
class BatchExport:
    """Write the results of a job as posenet would have written them.

      edgepose batch export poses --json poses.jsonl --csv poses.csv
    """

    folder: JobFolder
    json: Annotated[str, Option("One JSON object a frame; - = stdout.", metavar="FILE|-", writes=True)] = ""
    csv: Annotated[str, Option("One row a keypoint; - = stdout.", metavar="FILE|-", writes=True)] = ""
    coco: Annotated[str, Option("COCO results, as pycocotools loads them.", metavar="FILE", writes=True)] = ""


@dataclass(frozen=True)
class Bench:
    """Measure the stages of a frame: decode, preprocess, network, postprocess, overlay, encode.

    Several engines, precisions, batches or numbers of threads are measured in turns in one run. A column is a list of
    settings such as openvino,precision=fp32,threads=2,batch=4; the first is the base of the ratios.

      edgepose bench movenet-multipose

      edgepose bench rtmpose-m --compare onnxruntime --compare openvino,threads=2

      edgepose bench movenet-multipose --choose
    """

    network: Annotated[str, Option("Network by name.", argument=True)] = "movenet-multipose"
    model: Annotated[Path | None, Option("Weights file of the network.")] = None
    input: Annotated[str, Option("Frames to measure with.", "-i")] = "test://people?size=1280x720"
    compare: Annotated[tuple[str, ...], Option("A column; may be given several times.", metavar="SPEC")] = ()
    choose: Annotated[bool, Option("Measure the weights and engines that run on this CPU, and remember the fastest: auto takes it from then on.")] = False
    frames: Annotated[int, Option("Frames to count for each column.", least=1, most=1_000_000)] = 200
    warmup: Annotated[int, Option("Frames before, not counted.", least=0, most=1_000_000)] = 20
    engine: EngineChoice = EngineChoice()
    no_download: NoDownload = False
    json: Annotated[str, Option("Figures as JSON.", metavar="FILE|-", writes=True)] = ""
    plot: Annotated[Path | None, Option("Stage times as a PNG (extra: plot).", writes=True)] = None
    talk: TalkChoice = TalkChoice()


@dataclass(frozen=True)
class Doctor:
    """Check board, drivers, engines, cameras, display, folders and networks, with the exact fix for each.

    Ends with 0 where nothing has to be mended, with 1 where something failed.

      edgepose doctor

      edgepose doctor --self-test --report bug.json
    """

    json: Annotated[bool, Option("Rows (or the report) as JSON on stdout.")] = False
    offline: Annotated[bool, Option("Do not try to reach the servers of the networks.")] = False
    self_test: Annotated[bool, Option("Compute: kernels against their numpy twins, every engine that loads (TensorRT in fp32, fp16 and int8, OpenVINO, CUDA) against ONNX Runtime, memory over 1,000 frames. Seconds on a CPU; minutes where TensorRT has to build first.")] = False
    quick: Annotated[bool, Option("With --self-test: memory over 200 frames only.")] = False
    report: Annotated[Path | None, Option("With --self-test: everything as JSON, to attach to a bug; without the name of the machine and of the user's folder.", metavar="FILE.json", writes=True)] = None


@dataclass(frozen=True)
class Devices:
    """List the cameras of this machine with their modes.

      edgepose devices --json
    """

    json: AsJson = False


@dataclass(frozen=True)
class ConfigShow:
    """Show every option that is set outside the command line, and where.

    Order: flag, environment (EDGEPOSE_NETWORK=..., EDGEPOSE_SERVE_PORT=...), ./edgepose.toml, the
    user's edgepose.toml, built-in default. EDGEPOSE_CONFIG names another file.

      edgepose config show

    A file has one table a command, with the names of the options; those that may be given several times take a
    list. The user's file is edgepose.toml in ~/.config/edgepose (or XDG_CONFIG_HOME).

      [posenet]

      network = "resnet18-hand"

      threshold = 0.2

      output = ["out.mp4", "rtsp://@:8554/live"]

      [serve]

      port = 8080

      no-loop = true

    In the environment several values stand on lines of their own. A name on the command line is stronger than
    EDGEPOSE_SOURCE and EDGEPOSE_OUTPUT. A variable EDGEPOSE_... that means nothing is said.
    """

    json: AsJson = False
