#!/usr/bin/env bash
# Build NVIDIA's jetson-utils (hardware decoding, CSI cameras, windows) and install it for the Python environment that is active.
#
#   sudo apt install $(docker/jetson_utils.sh --packages)
#   . ~/edgepose/bin/activate && docker/jetson_utils.sh
#
# It takes some minutes. Options:
#   --packages       print the Debian and Ubuntu packages that it needs, and do nothing
#   --source FOLDER  sources that are there already, instead of fetching them; they are changed
#   --configure      stop before compiling
set -euo pipefail

commit=fae4b42 # of October 2025, the first that takes numpy 2
packages="python3 python3-dev python3-venv g++ cmake git pkg-config lsb-release
  libglew-dev libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstreamer-plugins-bad1.0-dev libgstrtspserver-1.0-dev
  libsoup2.4-dev libjson-glib-dev
  gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav"
if ! compgen -G "/usr/include/*/NvInfer.h" >/dev/null; then packages="$packages libnvinfer-dev"; fi # images of TensorRT have it
modules="numpy termcolor tabulate requests docker" # what its Python part imports

usage() { sed -n '2,10p' "$0" | sed 's/^# \{0,1\}//'; }

source=""
configure=0
while [ $# -gt 0 ]; do
  case "$1" in
    --packages) echo $packages; exit 0 ;;
    --source) source="${2:?--source needs a folder}"; shift 2 ;;
    --configure) configure=1; shift ;;
    -h | --help) usage; exit 0 ;;
    *) echo "jetson_utils.sh: unknown option $1; see --help." >&2; exit 2 ;;
  esac
done

for tool in nvcc lsb_release cmake; do
  if ! command -v "$tool" >/dev/null; then
    echo "jetson_utils.sh: $tool is not found; install the packages (--packages), and add CUDA: export PATH=/usr/local/cuda/bin:\$PATH" >&2
    exit 1
  fi
done

if [ -z "$source" ]; then
  source="$(mktemp -d)"
  trap 'rm -rf "$source"' EXIT
  git clone https://github.com/dusty-nv/jetson-utils "$source"
  git -C "$source" checkout --quiet "$commit"
fi

# Its CMakeLists names sm_53, sm_62 and sm_72, which nvcc 13 does not know, and no board after Orin. What this nvcc knows
# of Orin (sm_87) and Thor (sm_110), and PTX for whatever comes later:
code="$(nvcc --list-gpu-code | sed -nE 's/^sm_(87|110)$/-gencode arch=compute_\1,code=sm_\1/p' | tr '\n' ' ')"
code="${code}-gencode arch=compute_87,code=compute_87"
sed -i -E -e 's/-gencode arch=compute_(53|62|72),code=sm_[0-9]+//g' \
  -e "s/-gencode arch=compute_87,code=sm_87/$code/" "$source/CMakeLists.txt"

# numpy's headers are those of this environment: a module built for numpy 1 does not load beside numpy 2
python3 -m pip install --quiet $modules
python="$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
sed -i -E "s/set\(PYTHON_BINDING_VERSIONS .*\)/set(PYTHON_BINDING_VERSIONS $python)/" "$source/python/CMakeLists.txt"

cmake -S "$source" -B "$source/build"
if [ "$configure" = 1 ]; then exit 0; fi
cmake --build "$source/build" --parallel "$(nproc)"
root=()
if [ "$(id -u)" != 0 ]; then root=(sudo); fi
"${root[@]}" cmake --install "$source/build"
"${root[@]}" ldconfig
python3 -c 'import jetson_utils; jetson_utils.videoSource; print("jetson-utils is installed:", jetson_utils.__file__)'
