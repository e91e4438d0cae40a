# written by tools/make_completions.py from the command line
# Source it, or put it into /usr/share/bash-completion/completions/posenet
_posenet() {
    local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" command="posenet"
    local options="" commands="" word at
    COMPREPLY=()
    # bash splits --name=value at the sign
    if [[ $current == "=" ]]; then current=""; fi
    if [[ $previous == "=" ]]; then previous="${COMP_WORDS[COMP_CWORD-2]}"; fi
    for ((at = 1; at < COMP_CWORD; at++)); do
        word="${COMP_WORDS[at]}"
        case "$command $word" in
            "-") command="$command $word" ;;
        esac
    done
    case "$previous" in
    --network|-n) COMPREPLY=($(compgen -W "densenet121-body edgepose-lite-body hrnet-w32 hrnet-w48 human-pose-estimation-0001 mediapipe-hand mediapipe-palm movenet-multipose movenet-thunder openpose-mobilenet-v2-small person-detection-retail-0013 resnet18-body resnet18-hand rtmo-l rtmo-m rtmo-s rtmpose-l rtmpose-m rtmpose-s rtmpose-t simdr-w32 simdr-w48 yolox-m yolox-nano yolox-nano-humanart yolox-tiny" -- "$current")); return ;;
    --resize) COMPREPLY=($(compgen -W "stretch letterbox" -- "$current")); return ;;
    --detector) COMPREPLY=($(compgen -W "mediapipe-palm person-detection-retail-0013 yolox-m yolox-nano yolox-nano-humanart yolox-tiny" -- "$current")); return ;;
    --input-flip|--flip-method|--input-flip-method) COMPREPLY=($(compgen -W "none counterclockwise rotate-180 clockwise horizontal vertical upper-right-diagonal upper-left-diagonal" -- "$current")); return ;;
    --rtsp-transport) COMPREPLY=($(compgen -W "tcp udp" -- "$current")); return ;;
    --overlay) COMPREPLY=($(compgen -W "boxes gestures ids keypoints links scores stats" -- "$current")); return ;;
    --format) COMPREPLY=($(compgen -W "json csv dict" -- "$current")); return ;;
    --engine) COMPREPLY=($(compgen -W "auto tensorrt tensorrt_rtx onnxruntime-cuda onnxruntime-tensorrt onnxruntime openvino" -- "$current")); return ;;
    --precision) COMPREPLY=($(compgen -W "fp32 fp16 int8 best" -- "$current")); return ;;
    --log-level) COMPREPLY=($(compgen -W "silent error warning info verbose debug" -- "$current")); return ;;
    --model|--pose-model|--variant|--topology|--colors|--input-blob|--output-cmap|--output-paf|--threshold|--keypoint-threshold|--link-threshold|--min-keypoints|--min-score|--network-size|--detector-model|--det-model|--detector-size|--img-size|--box-threshold|--conf-thres|--nms-threshold|--iou-thres|--max-people|--detect-every|--batch-size|--source|--input|-i|--input-width|--width|--input-height|--height|--input-rate|--framerate|--input-codec|--input-latency|--input-rtsp-latency|--timeout|--input-loop|--loop|--input-save|--start|--frames|--reconnect-limit|--batch-timeout|--output|-o|--output-codec|--codec|--bitrate|--output-rate|--output-width|--output-height|--keypoint-scale|--link-scale|--line-width|--alpha|--json|--csv|--coco|--parquet|--mqtt|--zones|--metrics|--gestures|--device|--device-name|--threads|--engine-file) COMPREPLY=($(compgen -f -- "$current")); return ;;
    esac
    case "$command" in
    "posenet") options="--network -n --model --pose-model --variant --topology --colors --input-blob --output-cmap --output-paf --no-download --threshold --keypoint-threshold --link-threshold --min-keypoints --min-score --resize --network-size --detector --detector-model --det-model --detector-size --img-size --box-threshold --conf-thres --nms-threshold --iou-thres --max-people --flip-test --detect-every --batch-size --source --input -i --input-width --width --input-height --height --input-rate --framerate --input-flip --flip-method --input-flip-method --input-codec --input-latency --input-rtsp-latency --rtsp-transport --timeout --input-loop --loop --input-save --start --frames --reconnect --no-reconnect --reconnect-limit --wait --batch-timeout --output -o --output-codec --codec --bitrate --output-rate --output-width --output-height --no-audio --headless --no-display --overlay --keypoint-scale --link-scale --line-width --alpha --json --csv --coco --parquet --format --mqtt --mqtt-discovery --zones --metrics --track --smooth --gestures --engine --device --device-name --threads --precision --no-build --engine-file --profile --log-level --verbose -v --quiet -q --no-progress --version" commands="" ;;
    esac
    if [[ $current == -* ]]; then
        COMPREPLY=($(compgen -W "$options --help" -- "$current"))
    elif [[ -n $commands ]]; then
        COMPREPLY=($(compgen -W "$commands" -- "$current"))
    else
        COMPREPLY=($(compgen -f -- "$current"))
    fi
}
complete -o filenames -o bashdefault -F _posenet posenet
