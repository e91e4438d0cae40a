#!/usr/bin/env bash
# Run edgepose in its container with what the machine has: GPU, cameras, Argus socket, display.
#
#   docker/run.sh posenet --network=resnet18-body /dev/video0
#   docker/run.sh --image edgepose:cpu serve --host 0.0.0.0
#
# Options before the command:
#   --image NAME    image (default: edgepose:TARGET of this L4T, as docs/containers.md lists them, or edgepose:cpu)
#   --data FOLDER   networks and engines (default: $EDGEPOSE_DATA or ~/edgepose-data)
#   --headless      no display
#   --detach        in the background, restarted unless stopped
#   --dry-run       print the command instead of running it
set -euo pipefail

image=""
data="${EDGEPOSE_DATA:-$HOME/edgepose-data}"
headless=0
detach=0
dry=0
root="${EDGEPOSE_ROOT:-}" # stands for "/" where the script is tested

usage() { sed -n '2,12p' "$0" | sed 's/^# \{0,1\}//'; }

while [ $# -gt 0 ]; do
  case "$1" in
    --image) image="${2:?--image needs a name}"; shift 2 ;;
    --data) data="${2:?--data needs a folder}"; shift 2 ;;
    --headless) headless=1; shift ;;
    --detach) detach=1; shift ;;
    --dry-run) dry=1; shift ;;
    -h | --help) usage; exit 0 ;;
    --) shift; break ;;
    -*) echo "run.sh: unknown option $1; see --help." >&2; exit 2 ;;
    *) break ;;
  esac
done

l4t=""
if [ -r "$root/etc/nv_tegra_release" ]; then
  l4t="r$(sed -nE 's/^# R([0-9]+).*REVISION: ([0-9]+).*/\1.\2/p' "$root/etc/nv_tegra_release")"
  case "$l4t" in # as docs/containers.md has it: from r38 on one image serves all revisions
    r36.[23]) l4t=r36.2 ;;
    r36.*) l4t=r36.4 ;;
    r[0-9]*) l4t="${l4t%%.*}" ;;
  esac
fi

args=(run --rm --network host --init)
if [ -t 0 ] && [ -t 1 ] && [ "$detach" = 0 ]; then args+=(-it); fi
if [ "$detach" = 1 ]; then args=(run --detach --restart unless-stopped --network host --init --name edgepose); fi

# the GPU: Jetson through the nvidia runtime, desktops through --gpus
if [ -n "$l4t" ]; then
  args+=(--runtime nvidia)
  : "${image:=edgepose:$l4t}"
elif [ -e "$root/proc/driver/nvidia/version" ]; then
  args+=(--gpus all -e NVIDIA_DRIVER_CAPABILITIES=all)
  : "${image:=edgepose:gpu}"
else
  : "${image:=edgepose:cpu}"
fi

# cameras
for device in "$root"/dev/video*; do
  [ -e "$device" ] && args+=(--device "${device#"$root"}")
done
if [ -e "$root/tmp/argus_socket" ]; then args+=(-v /tmp/argus_socket:/tmp/argus_socket); fi
for file in /etc/enctune.conf /etc/nv_tegra_release; do
  if [ -e "$root$file" ]; then args+=(-v "$file:$file:ro"); fi
done

# the display
if [ "$headless" = 0 ] && [ -n "${DISPLAY:-}" ]; then
  args+=(-e "DISPLAY=$DISPLAY" -v /tmp/.X11-unix:/tmp/.X11-unix)
  if [ "$dry" = 0 ] && command -v xhost >/dev/null; then xhost +si:localuser:root >/dev/null || true; fi
fi

# networks, engines, and the folder the user stands in
if [ "$dry" = 0 ]; then mkdir -p "$data"; fi
args+=(-v "$data:/data" -v "$PWD:/work" -w /work)
if [ -n "${EDGEPOSE_TOKEN:-}" ]; then args+=(-e EDGEPOSE_TOKEN); fi

if [ "$dry" = 1 ]; then
  printf 'docker'
  printf ' %q' "${args[@]}" "$image" "$@"
  printf '\n'
  exit 0
fi
if ! command -v docker >/dev/null; then
  echo "run.sh: docker is not installed; on a Jetson: sudo apt install docker.io nvidia-container-toolkit" >&2
  exit 1
fi
exec docker "${args[@]}" "$image" "$@"
