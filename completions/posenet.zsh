#compdef posenet
# written by tools/make_completions.py from the command line
# Put it into a folder of $fpath as _posenet
_posenet() {
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
_posenet "$@"
