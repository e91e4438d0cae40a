#compdef edgepose
# written by tools/make_completions.py from the command line
# Put it into a folder of $fpath as _edgepose
_edgepose() {
    local state line
    local -a commands
    commands=(
        'batch:Find the poses in many films and pictures, and go on where an earlier run ended'
        'bench:Measure the stages of a frame: decode, preprocess, network, postprocess, overlay, encode'
        'build-engine:Build the TensorRT engine of a network for this GPU and keep it; prints its path'
        'collect:Collect the events of many devices into one store, and look after the devices'
        'config:Defaults from the environment and from configuration files'
        'devices:List the cameras of this machine with their modes'
        'doctor:Check board, drivers, engines, cameras, display, folders and networks, with the exact fix for each'
        'download:Fetch networks, check them and install them'
        'engines:List, explain, remove and carry the TensorRT engines that were built here'
        'eval:Measure the accuracy and speed of a network on annotated pictures'
        'events:List, export, count and import enter and exit events'
        'export:Turn a PyTorch checkpoint (.pth) into an ONNX network and install it by name'
        'networks:List the networks, where they are installed, and the engines built from them'
        'posenet:Find the poses of people or hands in images, videos, cameras and streams'
        'serve:Serve a page with the live view, people and events'
        'teach:Teach gestures and postures of your own from examples'
    )
    _arguments -C \
        '--version''[Print the version.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '1: :->command' \
        '*:: :->rest'
    case $state in
    command) _describe command commands ;;
    rest)
        case $line[1] in
        batch) _edgepose_batch ;;
        bench) _edgepose_bench ;;
        build-engine) _edgepose_build-engine ;;
        collect) _edgepose_collect ;;
        config) _edgepose_config ;;
        devices) _edgepose_devices ;;
        doctor) _edgepose_doctor ;;
        download) _edgepose_download ;;
        engines) _edgepose_engines ;;
        eval) _edgepose_eval ;;
        events) _edgepose_events ;;
        export) _edgepose_export ;;
        networks) _edgepose_networks ;;
        posenet) _edgepose_posenet ;;
        serve) _edgepose_serve ;;
        teach) _edgepose_teach ;;
        esac ;;
    esac
}
_edgepose_batch() {
    local state line
    local -a commands
    commands=(
        'check:Read all results of a job again: every frame once, every file whole, none of another source'
        'export:Write the results of a job as posenet would have written them'
        'status:Say how far a job is; from any machine that sees its folder, while it runs'
    )
    _arguments -C \
        '(--out -o)'{--out=,-o+}'[Folder of the results; with --cluster one that all nodes share.]:DIR:_files' \
        '--dry-run''[Only say what there is to do, and about how long it takes.]' \
        '--retry-failed''[Try again what was set aside.]' \
        '--overwrite''[Delete the results of an earlier job in DIR and begin anew.]' \
        '--segment=''[Films are cut into parts of about so many seconds, at key frames. (default\: 60.0)]:SECONDS: ' \
        '--shard=''[Pictures in one part. (default\: 256)]:NUMBER: ' \
        '--track''[Follow people\: a track id that stays the same over a film.]' \
        '--smooth''[Smooth the keypoints of tracks; implies --track.]' \
        '--gestures=''[What people do\: builtin, names of built-in gestures, files *.gestures; separated by '\'','\''.]:builtin|NAME|FILE,...: ' \
        '--zones=''[Zones and lines (JSON)\: enter and exit events in DIR/events; implies --track.]:PATH:_files' \
        '--progress=''[What is said of the progress\: text, or JSON lines on stdout. (default\: text)]:text|json: ' \
        '--workers=''[How many. One works in this process; more need edgepose(cluster). (default\: 1)]:NUMBER: ' \
        '--cluster=''[A Ray cluster that runs already; this machine must be one of its nodes.]:HOST PORT|auto: ' \
        '--cpus-per-worker=''[CPU cores of each; also the threads of its engine where --threads is not given. (default\: 1.0)]:NUMBER: ' \
        '--gpus-per-worker=''[GPUs of each, such as 0.5.]:NUMBER: ' \
        '--mixed-engines''[Workers may infer with different engines; poses differ a little then.]' \
        '--attempts=''[Tries of a part that kills its worker, until it is set aside. (default\: 3)]:NUMBER: ' \
        '(--input-width --width)'{--input-width=,--width=}'[Width to scale to.]:NUMBER: ' \
        '(--input-height --height)'{--input-height=,--height=}'[Height, likewise.]:NUMBER: ' \
        '(--input-rate --framerate)'{--input-rate=,--framerate=}'[At most so many frames a second of a film.]:NUMBER: ' \
        '(--input-flip --flip-method)'{--input-flip=,--flip-method=}'[none, counterclockwise, rotate-180, clockwise, horizontal, vertical, upper-right-diagonal, upper-left-diagonal. (default\: none)]:TEXT:(none counterclockwise rotate-180 clockwise horizontal vertical upper-right-diagonal upper-left-diagonal)' \
        '--list=''[Names of more inputs, one a line.]:FILE:_files' \
        '(--network -n)'{--network=,-n+}'[Network by name; see `edgepose networks`. Default\: movenet-multipose, which is in the package; with an NVIDIA GPU resnet18-body. `fast`, `accurate` and `hand` are names, too.]:TEXT:(densenet121-body edgepose-lite-body hrnet-w32 hrnet-w48 human-pose-estimation-0001 mediapipe-hand mediapipe-palm movenet-multipose movenet-thunder openpose-mobilenet-v2-small person-detection-retail-0013 resnet18-body resnet18-hand rtmo-l rtmo-m rtmo-s rtmpose-l rtmpose-m rtmpose-s rtmpose-t simdr-w32 simdr-w48 yolox-m yolox-nano yolox-nano-humanart yolox-tiny)' \
        '(--model --pose-model)'{--model=,--pose-model=}'[Weights file (.onnx, .xml)\: of --network, or custom with --topology.]:PATH:_files' \
        '--variant=''[Variant of the weights, for example FP16.]:TEXT: ' \
        '--topology=''[Topology of a custom network\: name or JSON file.]:TEXT: ' \
        '--colors=''[Colours of a custom network, one '\''R G B (A)'\'' line a keypoint.]:PATH:_files' \
        '--input-blob=''[Input tensor of a custom network.]:TEXT: ' \
        '--output-cmap=''[Confidence map tensor of a custom network.]:TEXT: ' \
        '--output-paf=''[Part affinity field tensor of a custom network.]:TEXT: ' \
        '--no-download''[Never fetch a network.]' \
        '--threshold=''[Least score of keypoints and links. (default\: 0.15)]:NUMBER: ' \
        '--keypoint-threshold=''[Least score of keypoints alone.]:NUMBER: ' \
        '--link-threshold=''[Least score of links alone.]:NUMBER: ' \
        '--min-keypoints=''[Drop poses with fewer keypoints. (default\: 3)]:NUMBER: ' \
        '--min-score=''[Drop poses with a lower score. (default\: the network'\''s)]:NUMBER: ' \
        '--resize=''[How pictures fit the network'\''s input. (default\: the network'\''s)]:stretch|letterbox:(stretch letterbox)' \
        '--network-size=''[Input size of a network with a dynamic one.]:WxH: ' \
        '--detector=''[Detector of a top-down network, by name. (default\: the network'\''s)]:TEXT:(mediapipe-palm person-detection-retail-0013 yolox-m yolox-nano yolox-nano-humanart yolox-tiny)' \
        '(--detector-model --det-model)'{--detector-model=,--det-model=}'[Weights file of the detector.]:PATH:_files' \
        '(--detector-size --img-size)'{--detector-size=,--img-size=}'[Input size of the detector where it is dynamic.]:NUMBER: ' \
        '(--box-threshold --conf-thres)'{--box-threshold=,--conf-thres=}'[Least score of boxes.]:NUMBER: ' \
        '(--nms-threshold --iou-thres)'{--nms-threshold=,--iou-thres=}'[Boxes that overlap more are one.]:NUMBER: ' \
        '--max-people=''[At most so many people a frame; 0 = no limit.]:NUMBER: ' \
        '--flip-test''[Top-down\: average with the mirrored crop.]' \
        '--detect-every=''[Top-down, films and cameras\: the detector looks at every N-th frame at least; people are followed by their keypoints in between. (default\: 1)]:N: ' \
        '--batch-size=''[At most so many frames or people in one run. (default\: 8)]:NUMBER: ' \
        '--engine=''[auto, tensorrt, onnxruntime, openvino, ... ; see `edgepose doctor`. (default\: auto)]:TEXT:(auto tensorrt tensorrt_rtx onnxruntime-cuda onnxruntime-tensorrt onnxruntime openvino)' \
        '(--device --device-name)'{--device=,--device-name=}'[OpenVINO\: CPU, GPU, NPU, AUTO; CUDA\: GPU number.]:TEXT: ' \
        '--threads=''[CPU threads of the engine; 0 = its choice.]:NUMBER: ' \
        '--precision=''[fp32, fp16, int8 or best, where the engine can choose.]:TEXT:(fp32 fp16 int8 best)' \
        '--no-build''[Never build a TensorRT engine.]' \
        '--engine-file=''[Use this TensorRT engine as it is.]:PATH:_files' \
        '--log-level=''[silent, error, warning, info, verbose or debug. (default\: info)]:TEXT:(silent error warning info verbose debug)' \
        '(--verbose -v)'{--verbose,-v}'[The same as --log-level=verbose.]' \
        '(--quiet -q)'{--quiet,-q}'[Errors only.]' \
        '--no-progress''[No progress bar.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '1: :->command' \
        '*:: :->rest'
    case $state in
    command) _describe command commands ;;
    rest)
        case $line[1] in
        check) _edgepose_batch_check ;;
        export) _edgepose_batch_export ;;
        status) _edgepose_batch_status ;;
        esac ;;
    esac
}
_edgepose_batch_check() {
    _arguments -s \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_batch_export() {
    _arguments -s \
        '--json=''[One JSON object a frame; - = stdout.]:FILE|-: ' \
        '--csv=''[One row a keypoint; - = stdout.]:FILE|-: ' \
        '--coco=''[COCO results, as pycocotools loads them.]:FILE: ' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_batch_status() {
    _arguments -s \
        '--json''[JSON on stdout.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_bench() {
    _arguments -s \
        '--model=''[Weights file of the network.]:PATH:_files' \
        '(--input -i)'{--input=,-i+}'[Frames to measure with. (default\: test\://people?size=1280x720)]:TEXT: ' \
        '*''--compare=''[A column; may be given several times.]:SPEC: ' \
        '--choose''[Measure the weights and engines that run on this CPU, and remember the fastest\: auto takes it from then on.]' \
        '--frames=''[Frames to count for each column. (default\: 200)]:NUMBER: ' \
        '--warmup=''[Frames before, not counted. (default\: 20)]:NUMBER: ' \
        '--engine=''[auto, tensorrt, onnxruntime, openvino, ... ; see `edgepose doctor`. (default\: auto)]:TEXT:(auto tensorrt tensorrt_rtx onnxruntime-cuda onnxruntime-tensorrt onnxruntime openvino)' \
        '(--device --device-name)'{--device=,--device-name=}'[OpenVINO\: CPU, GPU, NPU, AUTO; CUDA\: GPU number.]:TEXT: ' \
        '--threads=''[CPU threads of the engine; 0 = its choice.]:NUMBER: ' \
        '--precision=''[fp32, fp16, int8 or best, where the engine can choose.]:TEXT:(fp32 fp16 int8 best)' \
        '--no-build''[Never build a TensorRT engine.]' \
        '--engine-file=''[Use this TensorRT engine as it is.]:PATH:_files' \
        '--no-download''[Never fetch a network.]' \
        '--json=''[Figures as JSON.]:FILE|-: ' \
        '--plot=''[Stage times as a PNG (extra\: plot).]:PATH:_files' \
        '--log-level=''[silent, error, warning, info, verbose or debug. (default\: info)]:TEXT:(silent error warning info verbose debug)' \
        '(--verbose -v)'{--verbose,-v}'[The same as --log-level=verbose.]' \
        '(--quiet -q)'{--quiet,-q}'[Errors only.]' \
        '--no-progress''[No progress bar.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_build-engine() {
    _arguments -s \
        '--precision=''[fp32, fp16, int8 or best (int8 where --calibration is given). (default\: fp16)]:TEXT:(fp32 fp16 int8 best)' \
        '--batch=''[Frames (or people) in one run, for networks with a dynamic batch. (default\: 1)]:N|MIN OPT MAX: ' \
        '--shape=''[Input size, for networks that take several. (default\: the network'\''s)]:WxH|hxw HxW|NxCxHxW: ' \
        '--variant=''[Variant of a named network'\''s weights.]:TEXT: ' \
        '--calibration=''[Pictures for int8, like those it will see; a few hundred are enough.]:FOLDER:_files' \
        '--like=''[With FILE.onnx\: prepare calibration pictures (and choose the size) as this network does.]:NETWORK: ' \
        '--workspace=''[Memory that the build may use; 0 = by what is free.]:MIB: ' \
        '--dla=''[Build for a deep learning accelerator (Orin, Xavier; fp16 or int8).]:0|1: ' \
        '--optimization-level=''[How hard the builder tries; 5 is slowest and best.]:0-5: ' \
        '--timing-cache=''[Measured kernel times. (default\: one for each GPU and version)]:FILE:_files' \
        '--hardware-compatible''[One engine for this and newer GPU families (desktop only; slower).]' \
        '--engine=''[tensorrt, tensorrt_rtx or auto. (default\: auto)]:TEXT:(auto tensorrt tensorrt_rtx onnxruntime-cuda onnxruntime-tensorrt onnxruntime openvino)' \
        '--device=''[Number of the GPU.]:TEXT: ' \
        '--force''[Build even where an engine is there, and int8 whatever it loses.]' \
        '(--output -o)'{--output=,-o+}'[Write a copy here, with its .json.]:FILE.engine:_files' \
        '--no-download''[Never fetch a network.]' \
        '--json''[JSON on stdout.]' \
        '--log-level=''[silent, error, warning, info, verbose or debug. (default\: info)]:TEXT:(silent error warning info verbose debug)' \
        '(--verbose -v)'{--verbose,-v}'[The same as --log-level=verbose.]' \
        '(--quiet -q)'{--quiet,-q}'[Errors only.]' \
        '--no-progress''[No progress bar.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_collect() {
    local state line
    local -a commands
    commands=(
        'check:Look whether the store has all that devices have delivered; exit code 1 where something is missing'
        'config:Push settings to a device: `config push DEVICE FILE`'
        'devices:Show the devices: up, last seen, frames/s, events that wait, clock, version, settings'
    )
    _arguments -C \
        '--store=''[Where the events are. (default\: EDGEPOSE_FLEET_STORE, else fleet.db in EDGEPOSE_HOME)]:FILE|postgresql //...: ' \
        '--group=''[Share the work with other collectors of this name.]:NAME: ' \
        '--keep-days=''[Delete events that came earlier; 0 = never.]:NUMBER: ' \
        '--poses=''[Take the poses of devices (`serve --fleet-poses`); needs EDGEPOSE_POSES_KEY.]:FOLDER:_files' \
        '--listen=''[Address of the page; none = no page. (default\: 127.0.0.1\:8443)]:HOST PORT|none: ' \
        '--cert=''[Certificate of the page; needed beyond loopback.]:FILE:_files' \
        '--key=''[Its key.]:FILE:_files' \
        '--log-level=''[silent, error, warning, info, verbose or debug. (default\: info)]:TEXT:(silent error warning info verbose debug)' \
        '(--verbose -v)'{--verbose,-v}'[The same as --log-level=verbose.]' \
        '(--quiet -q)'{--quiet,-q}'[Errors only.]' \
        '--no-progress''[No progress bar.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '1: :->command' \
        '*:: :->rest'
    case $state in
    command) _describe command commands ;;
    rest)
        case $line[1] in
        check) _edgepose_collect_check ;;
        config) _edgepose_collect_config ;;
        devices) _edgepose_collect_devices ;;
        esac ;;
    esac
}
_edgepose_collect_check() {
    _arguments -s \
        '--store=''[Where the events are. (default\: EDGEPOSE_FLEET_STORE, else fleet.db in EDGEPOSE_HOME)]:FILE|postgresql //...: ' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_collect_config() {
    _arguments -s \
        '--broker=''[The broker. (default\: EDGEPOSE_FLEET)]:mqtts //HOST: ' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_collect_devices() {
    _arguments -s \
        '--store=''[Where the events are. (default\: EDGEPOSE_FLEET_STORE, else fleet.db in EDGEPOSE_HOME)]:FILE|postgresql //...: ' \
        '--json''[JSON on stdout.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_config() {
    local state line
    local -a commands
    commands=(
        'show:Show every option that is set outside the command line, and where'
    )
    _arguments -C \
        '(-h --help)'{-h,--help}'[help]' \
        '1: :->command' \
        '*:: :->rest'
    case $state in
    command) _describe command commands ;;
    rest)
        case $line[1] in
        show) _edgepose_config_show ;;
        esac ;;
    esac
}
_edgepose_config_show() {
    _arguments -s \
        '--json''[JSON on stdout.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_devices() {
    _arguments -s \
        '--json''[JSON on stdout.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_doctor() {
    _arguments -s \
        '--json''[Rows (or the report) as JSON on stdout.]' \
        '--offline''[Do not try to reach the servers of the networks.]' \
        '--self-test''[Compute\: kernels against their numpy twins, every engine that loads (TensorRT in fp32, fp16 and int8, OpenVINO, CUDA) against ONNX Runtime, memory over 1,000 frames. Seconds on a CPU; minutes where TensorRT has to build first.]' \
        '--quick''[With --self-test\: memory over 200 frames only.]' \
        '--report=''[With --self-test\: everything as JSON, to attach to a bug; without the name of the machine and of the user'\''s folder.]:FILE.json:_files' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_download() {
    _arguments -s \
        '--all''[All networks whose addresses are known.]' \
        '--variant=''[Variant of the weights, for example FP16; also NAME\:FP16.]:TEXT: ' \
        '--from=''[Take it from a file, a folder or a bundle instead of the network.]:PATH:_files' \
        '--offline''[Never use the network.]' \
        '--bundle=''[Write the named networks (default\: all that are installed) to this tar.]:PATH:_files' \
        '--force''[Install again what is there.]' \
        '--no-verify''[With --from\: take a file that is not as published.]' \
        '--trust''[With --from BUNDLE\: let it replace networks that edgepose ships, or their checksums.]' \
        '--repin''[Accept another file than at the first download.]' \
        '--timeout=''[Seconds without a byte before a new attempt. (default\: 20.0)]:NUMBER: ' \
        '--tries=''[Attempts at each address. (default\: 4)]:NUMBER: ' \
        '--log-level=''[silent, error, warning, info, verbose or debug. (default\: info)]:TEXT:(silent error warning info verbose debug)' \
        '(--verbose -v)'{--verbose,-v}'[The same as --log-level=verbose.]' \
        '(--quiet -q)'{--quiet,-q}'[Errors only.]' \
        '--no-progress''[No progress bar.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_engines() {
    local state line
    local -a commands
    commands=(
        'export:Copy an engine and its .json to a file or folder'
        'import:Take engines with their .json from elsewhere'
        'list:List the cached engines and whether they fit this machine'
        'prune:Remove engines that are damaged or do not fit this machine'
        'show:Print what an engine was built from, and what differs here'
    )
    _arguments -C \
        '(-h --help)'{-h,--help}'[help]' \
        '1: :->command' \
        '*:: :->rest'
    case $state in
    command) _describe command commands ;;
    rest)
        case $line[1] in
        export) _edgepose_engines_export ;;
        import) _edgepose_engines_import ;;
        list) _edgepose_engines_list ;;
        prune) _edgepose_engines_prune ;;
        show) _edgepose_engines_show ;;
        esac ;;
    esac
}
_edgepose_engines_export() {
    _arguments -s \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_engines_import() {
    _arguments -s \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_engines_list() {
    _arguments -s \
        '--json''[JSON on stdout.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_engines_prune() {
    _arguments -s \
        '--all''[Remove all engines.]' \
        '--older-than=''[Also those built so long ago.]:DAYS: ' \
        '(--dry-run -n)'{--dry-run,-n}'[Only say what would be removed.]' \
        '--json''[JSON on stdout.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_engines_show() {
    _arguments -s \
        '--json''[JSON on stdout.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_eval() {
    _arguments -s \
        '--annotations=''[COCO keypoint file.]:PATH:_files' \
        '--images=''[Folder of the pictures.]:PATH:_files' \
        '--limit=''[The first N pictures only; 0 = all.]:NUMBER: ' \
        '--pck''[PCK@0.2 of the torso instead of COCO'\''s figures, for sets with one annotated person a picture.]' \
        '--sigmas=''[OKS constants of the annotations'\'' keypoints. (default\: the topology'\''s, else COCO'\''s by name)]:A,B,...|FILE.json: ' \
        '--json''[JSON on stdout.]' \
        '--compare=''[Measure with this engine too, and show the difference.]:ENGINE[ PRECISION]: ' \
        '--results=''[Write what was found in COCO'\''s result format.]:FILE.json:_files' \
        '--resume''[Go on where an interrupted run of the same measurement ended.]' \
        '(--network -n)'{--network=,-n+}'[Network by name; see `edgepose networks`. Default\: movenet-multipose, which is in the package; with an NVIDIA GPU resnet18-body. `fast`, `accurate` and `hand` are names, too.]:TEXT:(densenet121-body edgepose-lite-body hrnet-w32 hrnet-w48 human-pose-estimation-0001 mediapipe-hand mediapipe-palm movenet-multipose movenet-thunder openpose-mobilenet-v2-small person-detection-retail-0013 resnet18-body resnet18-hand rtmo-l rtmo-m rtmo-s rtmpose-l rtmpose-m rtmpose-s rtmpose-t simdr-w32 simdr-w48 yolox-m yolox-nano yolox-nano-humanart yolox-tiny)' \
        '(--model --pose-model)'{--model=,--pose-model=}'[Weights file (.onnx, .xml)\: of --network, or custom with --topology.]:PATH:_files' \
        '--variant=''[Variant of the weights, for example FP16.]:TEXT: ' \
        '--topology=''[Topology of a custom network\: name or JSON file.]:TEXT: ' \
        '--colors=''[Colours of a custom network, one '\''R G B (A)'\'' line a keypoint.]:PATH:_files' \
        '--input-blob=''[Input tensor of a custom network.]:TEXT: ' \
        '--output-cmap=''[Confidence map tensor of a custom network.]:TEXT: ' \
        '--output-paf=''[Part affinity field tensor of a custom network.]:TEXT: ' \
        '--no-download''[Never fetch a network.]' \
        '--threshold=''[Least score of keypoints and links. (default\: 0.15)]:NUMBER: ' \
        '--keypoint-threshold=''[Least score of keypoints alone.]:NUMBER: ' \
        '--link-threshold=''[Least score of links alone.]:NUMBER: ' \
        '--min-keypoints=''[Drop poses with fewer keypoints. (default\: 3)]:NUMBER: ' \
        '--min-score=''[Drop poses with a lower score. (default\: the network'\''s)]:NUMBER: ' \
        '--resize=''[How pictures fit the network'\''s input. (default\: the network'\''s)]:stretch|letterbox:(stretch letterbox)' \
        '--network-size=''[Input size of a network with a dynamic one.]:WxH: ' \
        '--detector=''[Detector of a top-down network, by name. (default\: the network'\''s)]:TEXT:(mediapipe-palm person-detection-retail-0013 yolox-m yolox-nano yolox-nano-humanart yolox-tiny)' \
        '(--detector-model --det-model)'{--detector-model=,--det-model=}'[Weights file of the detector.]:PATH:_files' \
        '(--detector-size --img-size)'{--detector-size=,--img-size=}'[Input size of the detector where it is dynamic.]:NUMBER: ' \
        '(--box-threshold --conf-thres)'{--box-threshold=,--conf-thres=}'[Least score of boxes.]:NUMBER: ' \
        '(--nms-threshold --iou-thres)'{--nms-threshold=,--iou-thres=}'[Boxes that overlap more are one.]:NUMBER: ' \
        '--max-people=''[At most so many people a frame; 0 = no limit.]:NUMBER: ' \
        '--flip-test''[Top-down\: average with the mirrored crop.]' \
        '--detect-every=''[Top-down, films and cameras\: the detector looks at every N-th frame at least; people are followed by their keypoints in between. (default\: 1)]:N: ' \
        '--batch-size=''[At most so many frames or people in one run. (default\: 8)]:NUMBER: ' \
        '--engine=''[auto, tensorrt, onnxruntime, openvino, ... ; see `edgepose doctor`. (default\: auto)]:TEXT:(auto tensorrt tensorrt_rtx onnxruntime-cuda onnxruntime-tensorrt onnxruntime openvino)' \
        '(--device --device-name)'{--device=,--device-name=}'[OpenVINO\: CPU, GPU, NPU, AUTO; CUDA\: GPU number.]:TEXT: ' \
        '--threads=''[CPU threads of the engine; 0 = its choice.]:NUMBER: ' \
        '--precision=''[fp32, fp16, int8 or best, where the engine can choose.]:TEXT:(fp32 fp16 int8 best)' \
        '--no-build''[Never build a TensorRT engine.]' \
        '--engine-file=''[Use this TensorRT engine as it is.]:PATH:_files' \
        '--log-level=''[silent, error, warning, info, verbose or debug. (default\: info)]:TEXT:(silent error warning info verbose debug)' \
        '(--verbose -v)'{--verbose,-v}'[The same as --log-level=verbose.]' \
        '(--quiet -q)'{--quiet,-q}'[Errors only.]' \
        '--no-progress''[No progress bar.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_events() {
    local state line
    local -a commands
    commands=(
        'export:Write events to a file or to stdout, the oldest first'
        'hours:Plot counts by hour (local time) in the terminal'
        'import:Bring over the events of the OpenVINO pose-estimation demo'\''s database; twice does no harm'
        'list:Show events, the newest first'
    )
    _arguments -C \
        '(-h --help)'{-h,--help}'[help]' \
        '1: :->command' \
        '*:: :->rest'
    case $state in
    command) _describe command commands ;;
    rest)
        case $line[1] in
        export) _edgepose_events_export ;;
        hours) _edgepose_events_hours ;;
        import) _edgepose_events_import ;;
        list) _edgepose_events_list ;;
        esac ;;
    esac
}
_edgepose_events_export() {
    _arguments -s \
        '--db=''[The database. (default\: EDGEPOSE_EVENTS, else events.db in EDGEPOSE_HOME)]:PATH:_files' \
        '*''--event=''[enter, exit, cross, begin or end; repeatable.]:TEXT:(enter exit cross)' \
        '*''--zone=''[Zone or line; '\'''\'' = the whole picture; repeatable.]:TEXT: ' \
        '*''--gesture=''[Gesture of a begin or end; repeatable.]:TEXT: ' \
        '*''--track=''[Track id; repeatable.]:NUMBER: ' \
        '*''--source=''[Source; repeatable.]:TEXT: ' \
        '*''--session=''[Session; repeatable.]:TEXT: ' \
        '--since=''[Not before\: 2026-11-21, 2026-11-21T07\:30, 90m, 24h, 7d (ago), today or yesterday.]:TIME: ' \
        '--until=''[Before this time.]:TIME: ' \
        '--format=''[csv, json or jsonl. (default\: by the name, else csv)]:TEXT:(json csv dict)' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_events_hours() {
    _arguments -s \
        '--db=''[The database. (default\: EDGEPOSE_EVENTS, else events.db in EDGEPOSE_HOME)]:PATH:_files' \
        '*''--event=''[enter, exit, cross, begin or end; repeatable.]:TEXT:(enter exit cross)' \
        '*''--zone=''[Zone or line; '\'''\'' = the whole picture; repeatable.]:TEXT: ' \
        '*''--gesture=''[Gesture of a begin or end; repeatable.]:TEXT: ' \
        '*''--track=''[Track id; repeatable.]:NUMBER: ' \
        '*''--source=''[Source; repeatable.]:TEXT: ' \
        '*''--session=''[Session; repeatable.]:TEXT: ' \
        '--since=''[Not before\: 2026-11-21, 2026-11-21T07\:30, 90m, 24h, 7d (ago), today or yesterday.]:TIME: ' \
        '--until=''[Before this time.]:TIME: ' \
        '--of-day''[Sum up by hour of the day.]' \
        '--json''[JSON on stdout.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_events_import() {
    _arguments -s \
        '--db=''[The database. (default\: EDGEPOSE_EVENTS, else events.db in EDGEPOSE_HOME)]:PATH:_files' \
        '--json''[JSON on stdout.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_events_list() {
    _arguments -s \
        '--db=''[The database. (default\: EDGEPOSE_EVENTS, else events.db in EDGEPOSE_HOME)]:PATH:_files' \
        '*''--event=''[enter, exit, cross, begin or end; repeatable.]:TEXT:(enter exit cross)' \
        '*''--zone=''[Zone or line; '\'''\'' = the whole picture; repeatable.]:TEXT: ' \
        '*''--gesture=''[Gesture of a begin or end; repeatable.]:TEXT: ' \
        '*''--track=''[Track id; repeatable.]:NUMBER: ' \
        '*''--source=''[Source; repeatable.]:TEXT: ' \
        '*''--session=''[Session; repeatable.]:TEXT: ' \
        '--since=''[Not before\: 2026-11-21, 2026-11-21T07\:30, 90m, 24h, 7d (ago), today or yesterday.]:TIME: ' \
        '--until=''[Before this time.]:TIME: ' \
        '(--limit -n)'{--limit=,-n+}'[At most so many, 1 to 1000. (default\: 50)]:NUMBER: ' \
        '--cursor=''[Go on behind an earlier list.]:TEXT: ' \
        '--json''[JSON on stdout.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_export() {
    _arguments -s \
        '(--output -o)'{--output=,-o+}'[Write the ONNX file here too.]:FILE.onnx:_files' \
        '--size=''[Input size. (default\: that of the network)]:WxH: ' \
        '--topology=''[Keypoints and links that it was trained with\: name or file. (default\: the network'\''s)]:TEXT: ' \
        '--batch=''[Fixed batch; 0 = dynamic.]:NUMBER: ' \
        '--name=''[Install under this name. (default\: NAME, with the size where it is another)]:TEXT: ' \
        '(--install --no-install)'{--install,--no-install}'[Install as a named network.]' \
        '--json''[JSON on stdout.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_networks() {
    local state line
    local -a commands
    commands=(
        'remove:Delete an installed network'
        'show:Print all that is known about a network'
    )
    _arguments -C \
        '--json''[JSON on stdout.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '1: :->command' \
        '*:: :->rest'
    case $state in
    command) _describe command commands ;;
    rest)
        case $line[1] in
        remove) _edgepose_networks_remove ;;
        show) _edgepose_networks_show ;;
        esac ;;
    esac
}
_edgepose_networks_remove() {
    _arguments -s \
        '--variant=''[Only this variant of the weights.]:TEXT: ' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_networks_show() {
    _arguments -s \
        '--json''[JSON on stdout.]' \
        '--verify''[Compare the installed files with their record.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_posenet() {
    _arguments -s \
        '(--network -n)'{--network=,-n+}'[Network by name; see `edgepose networks`. Default\: movenet-multipose, which is in the package; with an NVIDIA GPU resnet18-body. `fast`, `accurate` and `hand` are names, too.]:TEXT:(densenet121-body edgepose-lite-body hrnet-w32 hrnet-w48 human-pose-estimation-0001 mediapipe-hand mediapipe-palm movenet-multipose movenet-thunder openpose-mobilenet-v2-small person-detection-retail-0013 resnet18-body resnet18-hand rtmo-l rtmo-m rtmo-s rtmpose-l rtmpose-m rtmpose-s rtmpose-t simdr-w32 simdr-w48 yolox-m yolox-nano yolox-nano-humanart yolox-tiny)' \
        '(--model --pose-model)'{--model=,--pose-model=}'[Weights file (.onnx, .xml)\: of --network, or custom with --topology.]:PATH:_files' \
        '--variant=''[Variant of the weights, for example FP16.]:TEXT: ' \
        '--topology=''[Topology of a custom network\: name or JSON file.]:TEXT: ' \
        '--colors=''[Colours of a custom network, one '\''R G B (A)'\'' line a keypoint.]:PATH:_files' \
        '--input-blob=''[Input tensor of a custom network.]:TEXT: ' \
        '--output-cmap=''[Confidence map tensor of a custom network.]:TEXT: ' \
        '--output-paf=''[Part affinity field tensor of a custom network.]:TEXT: ' \
        '--no-download''[Never fetch a network.]' \
        '--threshold=''[Least score of keypoints and links. (default\: 0.15)]:NUMBER: ' \
        '--keypoint-threshold=''[Least score of keypoints alone.]:NUMBER: ' \
        '--link-threshold=''[Least score of links alone.]:NUMBER: ' \
        '--min-keypoints=''[Drop poses with fewer keypoints. (default\: 3)]:NUMBER: ' \
        '--min-score=''[Drop poses with a lower score. (default\: the network'\''s)]:NUMBER: ' \
        '--resize=''[How pictures fit the network'\''s input. (default\: the network'\''s)]:stretch|letterbox:(stretch letterbox)' \
        '--network-size=''[Input size of a network with a dynamic one.]:WxH: ' \
        '--detector=''[Detector of a top-down network, by name. (default\: the network'\''s)]:TEXT:(mediapipe-palm person-detection-retail-0013 yolox-m yolox-nano yolox-nano-humanart yolox-tiny)' \
        '(--detector-model --det-model)'{--detector-model=,--det-model=}'[Weights file of the detector.]:PATH:_files' \
        '(--detector-size --img-size)'{--detector-size=,--img-size=}'[Input size of the detector where it is dynamic.]:NUMBER: ' \
        '(--box-threshold --conf-thres)'{--box-threshold=,--conf-thres=}'[Least score of boxes.]:NUMBER: ' \
        '(--nms-threshold --iou-thres)'{--nms-threshold=,--iou-thres=}'[Boxes that overlap more are one.]:NUMBER: ' \
        '--max-people=''[At most so many people a frame; 0 = no limit.]:NUMBER: ' \
        '--flip-test''[Top-down\: average with the mirrored crop.]' \
        '--detect-every=''[Top-down, films and cameras\: the detector looks at every N-th frame at least; people are followed by their keypoints in between. (default\: 1)]:N: ' \
        '--batch-size=''[At most so many frames or people in one run. (default\: 8)]:NUMBER: ' \
        '*'{--source=,--input=,-i+}'[An input; may be given several times.]:TEXT: ' \
        '(--input-width --width)'{--input-width=,--width=}'[Width asked of a camera, or to scale files to.]:NUMBER: ' \
        '(--input-height --height)'{--input-height=,--height=}'[Height, likewise.]:NUMBER: ' \
        '(--input-rate --framerate)'{--input-rate=,--framerate=}'[Frames a second.]:NUMBER: ' \
        '(--input-flip --flip-method --input-flip-method)'{--input-flip=,--flip-method=,--input-flip-method=}'[none, counterclockwise, rotate-180, clockwise, horizontal, vertical, upper-right-diagonal, upper-left-diagonal. (default\: none)]:TEXT:(none counterclockwise rotate-180 clockwise horizontal vertical upper-right-diagonal upper-left-diagonal)' \
        '--input-codec=''[Codec of streams that do not say\: h264 h265 vp8 vp9 mpeg2 mpeg4 mjpeg.]:TEXT: ' \
        '(--input-latency --input-rtsp-latency)'{--input-latency=,--input-rtsp-latency=}'[Jitter buffer of network streams, ms. (default\: 10)]:NUMBER: ' \
        '--rtsp-transport=''[How RTSP carries its data. (default\: tcp)]:tcp|udp:(tcp udp)' \
        '--timeout=''[Seconds without a frame until a live source is lost. (default\: 10.0)]:NUMBER: ' \
        '(--input-loop --loop)'{--input-loop=,--loop=}'[Passes over a file in all; -1 = for ever.]:NUMBER: ' \
        '--input-save=''[Also store the compressed input in this file.]:TEXT: ' \
        '--start=''[First frame of a file.]:NUMBER: ' \
        '--frames=''[At most so many frames.]:NUMBER: ' \
        '(--reconnect --no-reconnect)'{--reconnect,--no-reconnect}'[Come back to a lost live source.]' \
        '--reconnect-limit=''[Give up after so many tries in a row; 0 = never.]:NUMBER: ' \
        '--wait''[Wait for a live source that is absent at the start.]' \
        '--batch-timeout=''[Several live sources\: seconds to wait for the others to share a run. (default\: 0.02)]:NUMBER: ' \
        '*'{--output=,-o+}'[An output; may be given several times. All positional arguments are inputs then.]:TEXT: ' \
        '(--output-codec --codec)'{--output-codec=,--codec=}'[h264, h265, vp8, vp9 or mjpeg. (default\: h264)]:TEXT: ' \
        '--bitrate=''[Bits a second; 0 = by quality.]:NUMBER: ' \
        '--output-rate=''[Frames a second. (default\: the input'\''s)]:NUMBER: ' \
        '--output-width=''[Width of the output.]:NUMBER: ' \
        '--output-height=''[Height of the output.]:NUMBER: ' \
        '--no-audio''[Leave the input'\''s sound out of video files.]' \
        '(--headless --no-display)'{--headless,--no-display}'[Never open a window.]' \
        '--overlay=''[links, keypoints, boxes, ids, scores, gestures, stats, none, default; separated by '\'','\'' or '\''|'\''. (default\: links,keypoints)]:TEXT:(boxes gestures ids keypoints links scores stats)' \
        '--keypoint-scale=''[Radius of keypoints as a part of the longer side. (default\: 0.0052)]:NUMBER: ' \
        '--link-scale=''[Width of links as a part of the longer side. (default\: 0.0013)]:NUMBER: ' \
        '--line-width=''[Width of links in pixels, instead of --link-scale.]:NUMBER: ' \
        '--alpha=''[Opacity of the overlay. (default\: 255)]:NUMBER: ' \
        '--json=''[One JSON object a frame; - = stdout.]:FILE|-: ' \
        '--csv=''[One row a keypoint.]:FILE|-: ' \
        '--coco=''[COCO results, as pycocotools loads them.]:FILE: ' \
        '--parquet=''[One row a pose, for pandas, DuckDB and Polars; there when the run has ended.]:FILE: ' \
        '--format=''[What to print on stdout.]:json|csv|dict:(json csv dict)' \
        '--mqtt=''[Publish results, with --track also who enters and leaves.]:mqtt //HOST/TOPIC: ' \
        '--mqtt-discovery''[Have Home Assistant find people, zones and camera by itself; implies --track.]' \
        '--zones=''[Zones and lines (JSON) whose events go to --mqtt; implies --track.]:PATH:_files' \
        '--metrics=''[Prometheus metrics over HTTP.]: PORT: ' \
        '--track''[Follow people\: a track id that stays the same over frames.]' \
        '--smooth''[Smooth the keypoints of tracks (One-Euro filter); implies --track.]' \
        '--gestures=''[What people do\: builtin, names of built-in gestures, files *.gestures; separated by '\'','\''.]:builtin|NAME|FILE,...: ' \
        '--engine=''[auto, tensorrt, onnxruntime, openvino, ... ; see `edgepose doctor`. (default\: auto)]:TEXT:(auto tensorrt tensorrt_rtx onnxruntime-cuda onnxruntime-tensorrt onnxruntime openvino)' \
        '(--device --device-name)'{--device=,--device-name=}'[OpenVINO\: CPU, GPU, NPU, AUTO; CUDA\: GPU number.]:TEXT: ' \
        '--threads=''[CPU threads of the engine; 0 = its choice.]:NUMBER: ' \
        '--precision=''[fp32, fp16, int8 or best, where the engine can choose.]:TEXT:(fp32 fp16 int8 best)' \
        '--no-build''[Never build a TensorRT engine.]' \
        '--engine-file=''[Use this TensorRT engine as it is.]:PATH:_files' \
        '--profile''[Times of every stage at the end.]' \
        '--log-level=''[silent, error, warning, info, verbose or debug. (default\: info)]:TEXT:(silent error warning info verbose debug)' \
        '(--verbose -v)'{--verbose,-v}'[The same as --log-level=verbose.]' \
        '(--quiet -q)'{--quiet,-q}'[Errors only.]' \
        '--no-progress''[No progress bar.]' \
        '--version''[Print the version.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_serve() {
    _arguments -s \
        '--example=''[Film for the tab `Example`.]:VIDEO: ' \
        '--no-loop''[Stop at the end of a film.]' \
        '--no-pace''[Play films as fast as they are inferred.]' \
        '--always''[Infer and record all cameras without viewers too.]' \
        '(--input-width --width)'{--input-width=,--width=}'[Width asked of a camera, or to scale files to.]:NUMBER: ' \
        '(--input-height --height)'{--input-height=,--height=}'[Height, likewise.]:NUMBER: ' \
        '(--input-rate --framerate)'{--input-rate=,--framerate=}'[Frames a second.]:NUMBER: ' \
        '(--input-flip --flip-method --input-flip-method)'{--input-flip=,--flip-method=,--input-flip-method=}'[none, counterclockwise, rotate-180, clockwise, horizontal, vertical, upper-right-diagonal, upper-left-diagonal. (default\: none)]:TEXT:(none counterclockwise rotate-180 clockwise horizontal vertical upper-right-diagonal upper-left-diagonal)' \
        '--input-codec=''[Codec of streams that do not say\: h264 h265 vp8 vp9 mpeg2 mpeg4 mjpeg.]:TEXT: ' \
        '(--input-latency --input-rtsp-latency)'{--input-latency=,--input-rtsp-latency=}'[Jitter buffer of network streams, ms. (default\: 10)]:NUMBER: ' \
        '--rtsp-transport=''[How RTSP carries its data. (default\: tcp)]:tcp|udp:(tcp udp)' \
        '--timeout=''[Seconds without a frame until a live source is lost. (default\: 10.0)]:NUMBER: ' \
        '--host=''[Address to listen on. (default\: 127.0.0.1)]:TEXT: ' \
        '--port=''[Port; 0 = a free one. (default\: 5000)]:NUMBER: ' \
        '--overlay=''[links, keypoints, boxes, ids, scores, gestures, stats, none, default; separated by '\'','\'' or '\''|'\''. (default\: links,keypoints,ids,gestures)]:TEXT:(boxes gestures ids keypoints links scores stats)' \
        '--quality=''[JPEG quality of the live view. (default\: 80)]:NUMBER: ' \
        '--longest=''[Longest side of the live view in pixels. (default\: 1280)]:NUMBER: ' \
        '--max-viewers=''[Viewers of one source. (default\: 100)]:NUMBER: ' \
        '(--network -n)'{--network=,-n+}'[Network by name; see `edgepose networks`. Default\: movenet-multipose, which is in the package; with an NVIDIA GPU resnet18-body. `fast`, `accurate` and `hand` are names, too.]:TEXT:(densenet121-body edgepose-lite-body hrnet-w32 hrnet-w48 human-pose-estimation-0001 mediapipe-hand mediapipe-palm movenet-multipose movenet-thunder openpose-mobilenet-v2-small person-detection-retail-0013 resnet18-body resnet18-hand rtmo-l rtmo-m rtmo-s rtmpose-l rtmpose-m rtmpose-s rtmpose-t simdr-w32 simdr-w48 yolox-m yolox-nano yolox-nano-humanart yolox-tiny)' \
        '(--model --pose-model)'{--model=,--pose-model=}'[Weights file (.onnx, .xml)\: of --network, or custom with --topology.]:PATH:_files' \
        '--variant=''[Variant of the weights, for example FP16.]:TEXT: ' \
        '--topology=''[Topology of a custom network\: name or JSON file.]:TEXT: ' \
        '--colors=''[Colours of a custom network, one '\''R G B (A)'\'' line a keypoint.]:PATH:_files' \
        '--input-blob=''[Input tensor of a custom network.]:TEXT: ' \
        '--output-cmap=''[Confidence map tensor of a custom network.]:TEXT: ' \
        '--output-paf=''[Part affinity field tensor of a custom network.]:TEXT: ' \
        '--no-download''[Never fetch a network.]' \
        '--threshold=''[Least score of keypoints and links. (default\: 0.15)]:NUMBER: ' \
        '--keypoint-threshold=''[Least score of keypoints alone.]:NUMBER: ' \
        '--link-threshold=''[Least score of links alone.]:NUMBER: ' \
        '--min-keypoints=''[Drop poses with fewer keypoints. (default\: 3)]:NUMBER: ' \
        '--min-score=''[Drop poses with a lower score. (default\: the network'\''s)]:NUMBER: ' \
        '--resize=''[How pictures fit the network'\''s input. (default\: the network'\''s)]:stretch|letterbox:(stretch letterbox)' \
        '--network-size=''[Input size of a network with a dynamic one.]:WxH: ' \
        '--detector=''[Detector of a top-down network, by name. (default\: the network'\''s)]:TEXT:(mediapipe-palm person-detection-retail-0013 yolox-m yolox-nano yolox-nano-humanart yolox-tiny)' \
        '(--detector-model --det-model)'{--detector-model=,--det-model=}'[Weights file of the detector.]:PATH:_files' \
        '(--detector-size --img-size)'{--detector-size=,--img-size=}'[Input size of the detector where it is dynamic.]:NUMBER: ' \
        '(--box-threshold --conf-thres)'{--box-threshold=,--conf-thres=}'[Least score of boxes.]:NUMBER: ' \
        '(--nms-threshold --iou-thres)'{--nms-threshold=,--iou-thres=}'[Boxes that overlap more are one.]:NUMBER: ' \
        '--max-people=''[At most so many people a frame; 0 = no limit.]:NUMBER: ' \
        '--flip-test''[Top-down\: average with the mirrored crop.]' \
        '--detect-every=''[Top-down, films and cameras\: the detector looks at every N-th frame at least; people are followed by their keypoints in between. (default\: 1)]:N: ' \
        '--batch-size=''[At most so many frames or people in one run. (default\: 8)]:NUMBER: ' \
        '--engine=''[auto, tensorrt, onnxruntime, openvino, ... ; see `edgepose doctor`. (default\: auto)]:TEXT:(auto tensorrt tensorrt_rtx onnxruntime-cuda onnxruntime-tensorrt onnxruntime openvino)' \
        '(--device --device-name)'{--device=,--device-name=}'[OpenVINO\: CPU, GPU, NPU, AUTO; CUDA\: GPU number.]:TEXT: ' \
        '--threads=''[CPU threads of the engine; 0 = its choice.]:NUMBER: ' \
        '--precision=''[fp32, fp16, int8 or best, where the engine can choose.]:TEXT:(fp32 fp16 int8 best)' \
        '--no-build''[Never build a TensorRT engine.]' \
        '--engine-file=''[Use this TensorRT engine as it is.]:PATH:_files' \
        '--gestures=''[What people do\: builtin, names of built-in gestures, files *.gestures; separated by '\'','\''.]:builtin|NAME|FILE,...: ' \
        '--db=''[Database of events. (default\: EDGEPOSE_EVENTS, else events.db in EDGEPOSE_HOME)]:FILE|none: ' \
        '--zones=''[Zones and lines (JSON).]:PATH:_files' \
        '--enter-after=''[Seconds seen until entered. (default\: 0.5)]:NUMBER: ' \
        '--exit-after=''[Seconds unseen until left. (default\: 2.0)]:NUMBER: ' \
        '--snapshots''[Store a picture with each event.]' \
        '--keep-days=''[Delete older events; 0 = never.]:NUMBER: ' \
        '*''--keep=''[Days for one camera, instead of --keep-days; repeatable.]:NAME=DAYS: ' \
        '--keep-megabytes=''[Delete the oldest beyond; 0 = never.]:NUMBER: ' \
        '--mqtt=''[Publish people'\''s events and states.]:mqtt //HOST/TOPIC: ' \
        '--mqtt-discovery''[Have Home Assistant find cameras, people and zones by itself.]' \
        '--webhook=''[POST each event, signed with EDGEPOSE_WEBHOOK_SECRET.]:URL: ' \
        '--fleet=''[Deliver events to `edgepose collect`. (default\: EDGEPOSE_FLEET)]:mqtts //HOST/?device=NAME: ' \
        '--fleet-poses=''[PUT the poses of every 15 minutes as Parquet. (default\: EDGEPOSE_FLEET_POSES)]:https //DEVICE PASSWORD@HOST/: ' \
        '--fleet-disk=''[Room for poses and events; the oldest poses go first. (default\: 2G)]:SIZE: ' \
        '--log-level=''[silent, error, warning, info, verbose or debug. (default\: info)]:TEXT:(silent error warning info verbose debug)' \
        '(--verbose -v)'{--verbose,-v}'[The same as --log-level=verbose.]' \
        '(--quiet -q)'{--quiet,-q}'[Errors only.]' \
        '--no-progress''[No progress bar.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_teach() {
    local state line
    local -a commands
    commands=(
        'collect:Add the people in pictures, films or a camera to a set, as examples of one gesture'
        'show:Show what a set holds: labels, poses, films'
        'train:Make gestures out of a set, and say how well they are told apart'
    )
    _arguments -C \
        '(-h --help)'{-h,--help}'[help]' \
        '1: :->command' \
        '*:: :->rest'
    case $state in
    command) _describe command commands ;;
    rest)
        case $line[1] in
        collect) _edgepose_teach_collect ;;
        show) _edgepose_teach_show ;;
        train) _edgepose_teach_train ;;
        esac ;;
    esac
}
_edgepose_teach_collect() {
    _arguments -s \
        '--to=''[The set, which is made or added to.]:SET.npz:_files' \
        '--person=''[Of films\: only the person with this track id; 0 = everybody.]:NUMBER: ' \
        '--largest''[Only the largest person of each frame.]' \
        '--start=''[First frame of a film.]:NUMBER: ' \
        '--frames=''[At most so many frames of a film.]:NUMBER: ' \
        '--countdown=''[Seconds until a camera counts. (default\: 3.0)]:NUMBER: ' \
        '--seconds=''[Seconds for which a camera counts. (default\: 5.0)]:NUMBER: ' \
        '(--input-width --width)'{--input-width=,--width=}'[Width asked of a camera, or to scale files to.]:NUMBER: ' \
        '(--input-height --height)'{--input-height=,--height=}'[Height, likewise.]:NUMBER: ' \
        '(--input-rate --framerate)'{--input-rate=,--framerate=}'[Frames a second.]:NUMBER: ' \
        '(--input-flip --flip-method --input-flip-method)'{--input-flip=,--flip-method=,--input-flip-method=}'[none, counterclockwise, rotate-180, clockwise, horizontal, vertical, upper-right-diagonal, upper-left-diagonal. (default\: none)]:TEXT:(none counterclockwise rotate-180 clockwise horizontal vertical upper-right-diagonal upper-left-diagonal)' \
        '--input-codec=''[Codec of streams that do not say\: h264 h265 vp8 vp9 mpeg2 mpeg4 mjpeg.]:TEXT: ' \
        '(--input-latency --input-rtsp-latency)'{--input-latency=,--input-rtsp-latency=}'[Jitter buffer of network streams, ms. (default\: 10)]:NUMBER: ' \
        '--rtsp-transport=''[How RTSP carries its data. (default\: tcp)]:tcp|udp:(tcp udp)' \
        '--timeout=''[Seconds without a frame until a live source is lost. (default\: 10.0)]:NUMBER: ' \
        '(--network -n)'{--network=,-n+}'[Network by name; see `edgepose networks`. Default\: movenet-multipose, which is in the package; with an NVIDIA GPU resnet18-body. `fast`, `accurate` and `hand` are names, too.]:TEXT:(densenet121-body edgepose-lite-body hrnet-w32 hrnet-w48 human-pose-estimation-0001 mediapipe-hand mediapipe-palm movenet-multipose movenet-thunder openpose-mobilenet-v2-small person-detection-retail-0013 resnet18-body resnet18-hand rtmo-l rtmo-m rtmo-s rtmpose-l rtmpose-m rtmpose-s rtmpose-t simdr-w32 simdr-w48 yolox-m yolox-nano yolox-nano-humanart yolox-tiny)' \
        '(--model --pose-model)'{--model=,--pose-model=}'[Weights file (.onnx, .xml)\: of --network, or custom with --topology.]:PATH:_files' \
        '--variant=''[Variant of the weights, for example FP16.]:TEXT: ' \
        '--topology=''[Topology of a custom network\: name or JSON file.]:TEXT: ' \
        '--colors=''[Colours of a custom network, one '\''R G B (A)'\'' line a keypoint.]:PATH:_files' \
        '--input-blob=''[Input tensor of a custom network.]:TEXT: ' \
        '--output-cmap=''[Confidence map tensor of a custom network.]:TEXT: ' \
        '--output-paf=''[Part affinity field tensor of a custom network.]:TEXT: ' \
        '--no-download''[Never fetch a network.]' \
        '--threshold=''[Least score of keypoints and links. (default\: 0.15)]:NUMBER: ' \
        '--keypoint-threshold=''[Least score of keypoints alone.]:NUMBER: ' \
        '--link-threshold=''[Least score of links alone.]:NUMBER: ' \
        '--min-keypoints=''[Drop poses with fewer keypoints. (default\: 3)]:NUMBER: ' \
        '--min-score=''[Drop poses with a lower score. (default\: the network'\''s)]:NUMBER: ' \
        '--resize=''[How pictures fit the network'\''s input. (default\: the network'\''s)]:stretch|letterbox:(stretch letterbox)' \
        '--network-size=''[Input size of a network with a dynamic one.]:WxH: ' \
        '--detector=''[Detector of a top-down network, by name. (default\: the network'\''s)]:TEXT:(mediapipe-palm person-detection-retail-0013 yolox-m yolox-nano yolox-nano-humanart yolox-tiny)' \
        '(--detector-model --det-model)'{--detector-model=,--det-model=}'[Weights file of the detector.]:PATH:_files' \
        '(--detector-size --img-size)'{--detector-size=,--img-size=}'[Input size of the detector where it is dynamic.]:NUMBER: ' \
        '(--box-threshold --conf-thres)'{--box-threshold=,--conf-thres=}'[Least score of boxes.]:NUMBER: ' \
        '(--nms-threshold --iou-thres)'{--nms-threshold=,--iou-thres=}'[Boxes that overlap more are one.]:NUMBER: ' \
        '--max-people=''[At most so many people a frame; 0 = no limit.]:NUMBER: ' \
        '--flip-test''[Top-down\: average with the mirrored crop.]' \
        '--detect-every=''[Top-down, films and cameras\: the detector looks at every N-th frame at least; people are followed by their keypoints in between. (default\: 1)]:N: ' \
        '--batch-size=''[At most so many frames or people in one run. (default\: 8)]:NUMBER: ' \
        '--engine=''[auto, tensorrt, onnxruntime, openvino, ... ; see `edgepose doctor`. (default\: auto)]:TEXT:(auto tensorrt tensorrt_rtx onnxruntime-cuda onnxruntime-tensorrt onnxruntime openvino)' \
        '(--device --device-name)'{--device=,--device-name=}'[OpenVINO\: CPU, GPU, NPU, AUTO; CUDA\: GPU number.]:TEXT: ' \
        '--threads=''[CPU threads of the engine; 0 = its choice.]:NUMBER: ' \
        '--precision=''[fp32, fp16, int8 or best, where the engine can choose.]:TEXT:(fp32 fp16 int8 best)' \
        '--no-build''[Never build a TensorRT engine.]' \
        '--engine-file=''[Use this TensorRT engine as it is.]:PATH:_files' \
        '--log-level=''[silent, error, warning, info, verbose or debug. (default\: info)]:TEXT:(silent error warning info verbose debug)' \
        '(--verbose -v)'{--verbose,-v}'[The same as --log-level=verbose.]' \
        '(--quiet -q)'{--quiet,-q}'[Errors only.]' \
        '--no-progress''[No progress bar.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_teach_show() {
    _arguments -s \
        '--json''[JSON on stdout.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose_teach_train() {
    _arguments -s \
        '--to=''[What --gestures of posenet and serve takes.]:FILE.gestures:_files' \
        '--window=''[Seconds of motion that count; 0 = the pose alone. (default\: 0.6 where all examples are films, else 0)]:NUMBER: ' \
        '--wrong=''[Show at most so many of the examples that are told wrongly. (default\: 20)]:NUMBER: ' \
        '--json''[JSON on stdout.]' \
        '(-h --help)'{-h,--help}'[help]' \
        '*:file:_files'
}
_edgepose "$@"
