# written by tools/make_completions.py from the command line
# Source it, or put it into /usr/share/bash-completion/completions/edgepose
_edgepose() {
    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" command="edgepose"
    local options="" commands="" word at
    COMPREPLY=()
    # bash splits --name=value at the sign
    if [[ $current == "=" ]]; then current=""; fi
    if [[ $previous == "=" ]]; then previous="${COMP_WORDS[COMP_CWORD-2]}"; fi
    for ((at = 1; at < COMP_CWORD; at++)); do
        word="${COMP_WORDS[at]}"
        case "$command $word" in
            "edgepose batch"|"edgepose batch check"|"edgepose batch export"|"edgepose batch status"|"edgepose bench"|"edgepose build-engine"|"edgepose collect"|"edgepose collect check"|"edgepose collect config"|"edgepose collect devices"|"edgepose config"|"edgepose config show"|"edgepose devices"|"edgepose doctor"|"edgepose download"|"edgepose engines"|"edgepose engines export"|"edgepose engines import"|"edgepose engines list"|"edgepose engines prune"|"edgepose engines show"|"edgepose eval"|"edgepose events"|"edgepose events export"|"edgepose events hours"|"edgepose events import"|"edgepose events list"|"edgepose export"|"edgepose networks"|"edgepose networks remove"|"edgepose networks show"|"edgepose posenet"|"edgepose serve"|"edgepose teach"|"edgepose teach collect"|"edgepose teach show"|"edgepose teach train") command="$command $word" ;;
        esac
    done
    case "$previous" in
    --input-flip|--flip-method|--input-flip-method) COMPREPLY=($(compgen -W "none counterclockwise rotate-180 clockwise horizontal vertical upper-right-diagonal upper-left-diagonal" -- "$current")); return ;;
    --network|-n) COMPREPLY=($(compgen -W "densenet121-body edgepose-lite-body hrnet-w32 hrnet-w48 human-pose-estimation-0001 mediapipe-hand mediapipe-palm movenet-multipose movenet-thunder openpose-mobilenet-v2-small person-detection-retail-0013 resnet18-body resnet18-hand rtmo-l rtmo-m rtmo-s rtmpose-l rtmpose-m rtmpose-s rtmpose-t simdr-w32 simdr-w48 yolox-m yolox-nano yolox-nano-humanart yolox-tiny" -- "$current")); return ;;
    --resize) COMPREPLY=($(compgen -W "stretch letterbox" -- "$current")); return ;;
    --detector) COMPREPLY=($(compgen -W "mediapipe-palm person-detection-retail-0013 yolox-m yolox-nano yolox-nano-humanart yolox-tiny" -- "$current")); return ;;
    --engine) COMPREPLY=($(compgen -W "auto tensorrt tensorrt_rtx onnxruntime-cuda onnxruntime-tensorrt onnxruntime openvino" -- "$current")); return ;;
    --precision) COMPREPLY=($(compgen -W "fp32 fp16 int8 best" -- "$current")); return ;;
    --log-level) COMPREPLY=($(compgen -W "silent error warning info verbose debug" -- "$current")); return ;;
    --event) COMPREPLY=($(compgen -W "enter exit cross" -- "$current")); return ;;
    --format) COMPREPLY=($(compgen -W "json csv dict" -- "$current")); return ;;
    --rtsp-transport) COMPREPLY=($(compgen -W "tcp udp" -- "$current")); return ;;
    --overlay) COMPREPLY=($(compgen -W "boxes gestures ids keypoints links scores stats" -- "$current")); return ;;
    --out|-o|--segment|--shard|--gestures|--zones|--progress|--workers|--cluster|--cpus-per-worker|--gpus-per-worker|--attempts|--input-width|--width|--input-height|--height|--input-rate|--framerate|--list|--model|--pose-model|--variant|--topology|--colors|--input-blob|--output-cmap|--output-paf|--threshold|--keypoint-threshold|--link-threshold|--min-keypoints|--min-score|--network-size|--detector-model|--det-model|--detector-size|--img-size|--box-threshold|--conf-thres|--nms-threshold|--iou-thres|--max-people|--detect-every|--batch-size|--device|--device-name|--threads|--engine-file|--json|--csv|--coco|--input|-i|--compare|--frames|--warmup|--plot|--batch|--shape|--calibration|--like|--workspace|--dla|--optimization-level|--timing-cache|--output|--store|--group|--keep-days|--poses|--listen|--cert|--key|--broker|--report|--from|--bundle|--timeout|--tries|--older-than|--annotations|--images|--limit|--sigmas|--results|--db|--zone|--gesture|--track|--source|--session|--since|--until|--cursor|--size|--name|--input-codec|--input-latency|--input-rtsp-latency|--input-loop|--loop|--input-save|--start|--reconnect-limit|--batch-timeout|--output-codec|--codec|--bitrate|--output-rate|--output-width|--output-height|--keypoint-scale|--link-scale|--line-width|--alpha|--parquet|--mqtt|--metrics|--example|--host|--port|--quality|--longest|--max-viewers|--enter-after|--exit-after|--keep|--keep-megabytes|--webhook|--fleet|--fleet-poses|--fleet-disk|--to|--person|--countdown|--seconds|--window|--wrong) COMPREPLY=($(compgen -f -- "$current")); return ;;
    esac
    case "$command" in
    "edgepose") options="--version" commands="batch bench build-engine collect config devices doctor download engines eval events export networks posenet serve teach" ;;
    "edgepose batch") options="--out -o --dry-run --retry-failed --overwrite --segment --shard --track --smooth --gestures --zones --progress --workers --cluster --cpus-per-worker --gpus-per-worker --mixed-engines --attempts --input-width --width --input-height --height --input-rate --framerate --input-flip --flip-method --list --network -n --model --pose-model --variant --topology --colors --input-blob --output-cmap --output-paf --no-download --threshold --keypoint-threshold --link-threshold --min-keypoints --min-score --resize --network-size --detector --detector-model --det-model --detector-size --img-size --box-threshold --conf-thres --nms-threshold --iou-thres --max-people --flip-test --detect-every --batch-size --engine --device --device-name --threads --precision --no-build --engine-file --log-level --verbose -v --quiet -q --no-progress" commands="check export status" ;;
    "edgepose batch check") options="" commands="" ;;
    "edgepose batch export") options="--json --csv --coco" commands="" ;;
    "edgepose batch status") options="--json" commands="" ;;
    "edgepose bench") options="--model --input -i --compare --choose --frames --warmup --engine --device --device-name --threads --precision --no-build --engine-file --no-download --json --plot --log-level --verbose -v --quiet -q --no-progress" commands="" ;;
    "edgepose build-engine") options="--precision --batch --shape --variant --calibration --like --workspace --dla --optimization-level --timing-cache --hardware-compatible --engine --device --force --output -o --no-download --json --log-level --verbose -v --quiet -q --no-progress" commands="" ;;
    "edgepose collect") options="--store --group --keep-days --poses --listen --cert --key --log-level --verbose -v --quiet -q --no-progress" commands="check config devices" ;;
    "edgepose collect check") options="--store" commands="" ;;
    "edgepose collect config") options="--broker" commands="" ;;
    "edgepose collect devices") options="--store --json" commands="" ;;
    "edgepose config") options="" commands="show" ;;
    "edgepose config show") options="--json" commands="" ;;
    "edgepose devices") options="--json" commands="" ;;
    "edgepose doctor") options="--json --offline --self-test --quick --report" commands="" ;;
    "edgepose download") options="--all --variant --from --offline --bundle --force --no-verify --trust --repin --timeout --tries --log-level --verbose -v --quiet -q --no-progress" commands="" ;;
    "edgepose engines") options="" commands="export import list prune show" ;;
    "edgepose engines export") options="" commands="" ;;
    "edgepose engines import") options="" commands="" ;;
    "edgepose engines list") options="--json" commands="" ;;
    "edgepose engines prune") options="--all --older-than --dry-run -n --json" commands="" ;;
    "edgepose engines show") options="--json" commands="" ;;
    "edgepose eval") options="--annotations --images --limit --pck --sigmas --json --compare --results --resume --network -n --model --pose-model --variant --topology --colors --input-blob --output-cmap --output-paf --no-download --threshold --keypoint-threshold --link-threshold --min-keypoints --min-score --resize --network-size --detector --detector-model --det-model --detector-size --img-size --box-threshold --conf-thres --nms-threshold --iou-thres --max-people --flip-test --detect-every --batch-size --engine --device --device-name --threads --precision --no-build --engine-file --log-level --verbose -v --quiet -q --no-progress" commands="" ;;
    "edgepose events") options="" commands="export hours import list" ;;
    "edgepose events export") options="--db --event --zone --gesture --track --source --session --since --until --format" commands="" ;;
    "edgepose events hours") options="--db --event --zone --gesture --track --source --session --since --until --of-day --json" commands="" ;;
    "edgepose events import") options="--db --json" commands="" ;;
    "edgepose events list") options="--db --event --zone --gesture --track --source --session --since --until --limit -n --cursor --json" commands="" ;;
    "edgepose export") options="--output -o --size --topology --batch --name --install --no-install --json" commands="" ;;
    "edgepose networks") options="--json" commands="remove show" ;;
    "edgepose networks remove") options="--variant" commands="" ;;
    "edgepose networks show") options="--json --verify" commands="" ;;
    "edgepose posenet") options="--network -n --model --pose-model --variant --topology --colors --input-blob --output-cmap --output-paf --no-download --threshold --keypoint-threshold --link-threshold --min-keypoints --min-score --resize --network-size --detector --detector-model --det-model --detector-size --img-size --box-threshold --conf-thres --nms-threshold --iou-thres --max-people --flip-test --detect-every --batch-size --source --input -i --input-width --width --input-height --height --input-rate --framerate --input-flip --flip-method --input-flip-method --input-codec --input-latency --input-rtsp-latency --rtsp-transport --timeout --input-loop --loop --input-save --start --frames --reconnect --no-reconnect --reconnect-limit --wait --batch-timeout --output -o --output-codec --codec --bitrate --output-rate --output-width --output-height --no-audio --headless --no-display --overlay --keypoint-scale --link-scale --line-width --alpha --json --csv --coco --parquet --format --mqtt --mqtt-discovery --zones --metrics --track --smooth --gestures --engine --device --device-name --threads --precision --no-build --engine-file --profile --log-level --verbose -v --quiet -q --no-progress --version" commands="" ;;
    "edgepose serve") options="--example --no-loop --no-pace --always --input-width --width --input-height --height --input-rate --framerate --input-flip --flip-method --input-flip-method --input-codec --input-latency --input-rtsp-latency --rtsp-transport --timeout --host --port --overlay --quality --longest --max-viewers --network -n --model --pose-model --variant --topology --colors --input-blob --output-cmap --output-paf --no-download --threshold --keypoint-threshold --link-threshold --min-keypoints --min-score --resize --network-size --detector --detector-model --det-model --detector-size --img-size --box-threshold --conf-thres --nms-threshold --iou-thres --max-people --flip-test --detect-every --batch-size --engine --device --device-name --threads --precision --no-build --engine-file --gestures --db --zones --enter-after --exit-after --snapshots --keep-days --keep --keep-megabytes --mqtt --mqtt-discovery --webhook --fleet --fleet-poses --fleet-disk --log-level --verbose -v --quiet -q --no-progress" commands="" ;;
    "edgepose teach") options="" commands="collect show train" ;;
    "edgepose teach collect") options="--to --person --largest --start --frames --countdown --seconds --input-width --width --input-height --height --input-rate --framerate --input-flip --flip-method --input-flip-method --input-codec --input-latency --input-rtsp-latency --rtsp-transport --timeout --network -n --model --pose-model --variant --topology --colors --input-blob --output-cmap --output-paf --no-download --threshold --keypoint-threshold --link-threshold --min-keypoints --min-score --resize --network-size --detector --detector-model --det-model --detector-size --img-size --box-threshold --conf-thres --nms-threshold --iou-thres --max-people --flip-test --detect-every --batch-size --engine --device --device-name --threads --precision --no-build --engine-file --log-level --verbose -v --quiet -q --no-progress" commands="" ;;
    "edgepose teach show") options="--json" commands="" ;;
    "edgepose teach train") options="--to --window --wrong --json" commands="" ;;
    esac
    if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$options --help" -- "$current"))
    elif [[ -n $commands ]]; then
        COMPREPLY=($(compgen -W "$commands" -- "$current"))
    else
        COMPREPLY=($(compgen -f -- "$current"))
    fi
}
complete -o filenames -o bashdefault -F _edgepose edgepose
