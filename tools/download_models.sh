#!/bin/sh
# Fetch networks for edgepose, from a menu or by name.
#
# Where edgepose is installed this is `edgepose download`. Where it is not, curl and sha256sum do the same:
# mirrors in turn, resume, published checksums verified, the others pinned at the first download in
# networks/lock.tsv, archives read without writing anything but the model. POSIX sh.
set -eu

OMZ=https://storage.openvinotoolkit.org/repositories/open_model_zoo/2023.0/models_bin/1
BOX=https://nvidia.box.com/shared/static
DUSTY=https://github.com/dusty-nv/jetson-inference/releases/download/model-mirror-190618
MMPOSE=https://download.openmmlab.com/mmpose/v1/projects
HPE=human-pose-estimation-0001
RETAIL=person-detection-retail-0013

usage() {
    cat <<END
Usage: ${0##*/} [NAME[:VARIANT]]... | --all | --list
  no arguments   choose from a menu (on a terminal)
  --all          every network, in its default variant
  --list         names, variants, sizes, what is installed
  --from PATH    take the file from a file or folder instead of the network
EDGEPOSE_HOME says where networks go, EDGEPOSE_MIRROR names an address to ask first, HTTPS_PROXY a proxy;
EDGEPOSE_OFFLINE=1 forbids the network.
END
}

# network, variant, archive, member, file, bytes, kind of digest, digest, addresses; - = none or unknown.
# The same facts as in data/networks/*.json, so that this file works on its own.
table() {
    cat <<END
densenet121-body FP32 tar.gz pose_densenet121_body.onnx Pose-DenseNet121-Body.tar.gz - - - $BOX/sizfwdkjmvzlo96serrs7u175wxldrv5.gz $DUSTY/Pose-DenseNet121-Body.tar.gz
$HPE FP32 - - $HPE.xml 152120 sha384 64e24ceca496aba4fb818edbea7c3a1405bc42c3166eac1b4be4f6cc89623c80cb9a1fd4c32d245d423653aa588e1a0b $OMZ/$HPE/FP32/$HPE.xml
$HPE FP32 - - $HPE.bin 16394708 sha384 64ef06d261ae522409172a396d927f7345525dbde011e3e2bff487f73e7b1d8cf622091feba9c23c7d4625c0aab0a3e5 $OMZ/$HPE/FP32/$HPE.bin
$HPE FP16 - - $HPE.xml 218215 sha384 cffe8df7d053b9cbf858a21faa32e30cb8a645416e9ee4ce3fbcc3106094505477d66a06b7e46d6ddb9c2de4b0cee319 $OMZ/$HPE/FP16/$HPE.xml
$HPE FP16 - - $HPE.bin 8197354 sha384 dabb7be42c5be008de354c6670aa8291c2d18e59f18a1c138df9b5200929a03c1e323930a1d21ecff69d3f06007de67c $OMZ/$HPE/FP16/$HPE.bin
$RETAIL FP16 - - $RETAIL.xml 571233 sha384 99ad3d4580a0123bef05ff77b6f46ccec16de974d1f5699fb94cd842e3242c6aa641f4977f9a5bb2f0fab42fe51cbb63 $OMZ/$RETAIL/FP16/$RETAIL.xml
$RETAIL FP16 - - $RETAIL.bin 1445734 sha384 a67422e3b5ec76057651d2a0237eab862de00e968c7eef1e5f333849ae64f91900bcd30a23e1b7dbaa07313e358759b9 $OMZ/$RETAIL/FP16/$RETAIL.bin
resnet18-body FP32 tar.gz pose_resnet18_body.onnx Pose-ResNet18-Body.tar.gz - - - $BOX/waf8bsu58v9qh9qj3sp3wsw1nyj61xm5.gz $DUSTY/Pose-ResNet18-Body.tar.gz
resnet18-hand FP32 tar.gz pose_resnet18_hand.onnx Pose-ResNet18-Hand.tar.gz - - - $BOX/srfcadyqv4eaeq6lvu5qpsm6l5oatcnq.gz $DUSTY/Pose-ResNet18-Hand.tar.gz
rtmo-l FP32 zip end2end.onnx rtmo-l_16xb16-600e_body7-640x640-b37118ce_20231211.zip - - - $MMPOSE/rtmo/onnx_sdk/rtmo-l_16xb16-600e_body7-640x640-b37118ce_20231211.zip
rtmo-m FP32 zip end2end.onnx rtmo-m_16xb16-600e_body7-640x640-39e78cc4_20231211.zip - - - $MMPOSE/rtmo/onnx_sdk/rtmo-m_16xb16-600e_body7-640x640-39e78cc4_20231211.zip
rtmo-s FP32 zip end2end.onnx rtmo-s_8xb32-600e_body7-640x640-dac2bf74_20231211.zip - - - $MMPOSE/rtmo/onnx_sdk/rtmo-s_8xb32-600e_body7-640x640-dac2bf74_20231211.zip
rtmpose-l FP32 zip end2end.onnx rtmpose-l_simcc-body7_pt-body7_420e-256x192-4dba18fc_20230504.zip - - - $MMPOSE/rtmposev1/onnx_sdk/rtmpose-l_simcc-body7_pt-body7_420e-256x192-4dba18fc_20230504.zip
rtmpose-m FP32 zip end2end.onnx rtmpose-m_simcc-body7_pt-body7_420e-256x192-e48f03d0_20230504.zip - - - $MMPOSE/rtmposev1/onnx_sdk/rtmpose-m_simcc-body7_pt-body7_420e-256x192-e48f03d0_20230504.zip
rtmpose-s FP32 zip end2end.onnx rtmpose-s_simcc-body7_pt-body7_420e-256x192-acd4a1ef_20230504.zip - - - $MMPOSE/rtmposev1/onnx_sdk/rtmpose-s_simcc-body7_pt-body7_420e-256x192-acd4a1ef_20230504.zip
rtmpose-t FP32 zip end2end.onnx rtmpose-t_simcc-body7_pt-body7_420e-256x192-026a1439_20230504.zip - - - $MMPOSE/rtmposev1/onnx_sdk/rtmpose-t_simcc-body7_pt-body7_420e-256x192-026a1439_20230504.zip
yolox-m FP32 zip end2end.onnx yolox_m_8xb8-300e_humanart-c2c7a14a.zip - - - $MMPOSE/rtmposev1/onnx_sdk/yolox_m_8xb8-300e_humanart-c2c7a14a.zip
yolox-nano-humanart FP32 zip end2end.onnx yolox_nano_8xb8-300e_humanart-40f6f0d0.zip - - - $MMPOSE/rtmposev1/onnx_sdk/yolox_nano_8xb8-300e_humanart-40f6f0d0.zip
yolox-tiny FP32 zip end2end.onnx yolox_tiny_8xb8-300e_humanart-6f3252f9.zip - - - $MMPOSE/rtmposev1/onnx_sdk/yolox_tiny_8xb8-300e_humanart-6f3252f9.zip
END
}

say() { printf '%s\n' "$*" >&2; }

complain() { say "download_models: $*"; }

# where things are ---------------------------------------------------------------------------------
if [ "$(uname -s)" = Darwin ]; then
    home=${EDGEPOSE_HOME:-$HOME/Library/Application Support/edgepose}
    cache=${EDGEPOSE_CACHE:-$HOME/Library/Caches/edgepose}
else
    home=${EDGEPOSE_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/edgepose}
    cache=${EDGEPOSE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/edgepose}
fi
networks=$home/networks
pins=$networks/lock.tsv
tries=${EDGEPOSE_TRIES:-4}
patience=${EDGEPOSE_TIMEOUT:-20}
delay=${EDGEPOSE_RETRY_DELAY:-1}
tab=$(printf '\t')

names() { table | awk '!seen[$1]++ { print $1 }'; }
variants() { table | awk -v n="$1" '$1 == n && !seen[$2]++ { print $2 }'; }
rows() { table | awk -v n="$1" -v v="$2" '$1 == n && $2 == v'; }
model_of() { rows "$1" "$2" | awk '{ print ($3 != "-") ? $4 : $5; exit }'; }
size_of() { rows "$1" "$2" | awk '{ s += $6 } END { if (s) printf "%.1f MB", s / 1e6 }'; }

# The path of an installed model, or nothing.
installed() {
    path=$networks/$1/$2/$(model_of "$1" "$2")
    [ -s "$path" ] || return 1
    case $path in *.xml) [ -s "${path%.xml}.bin" ] || return 1 ;; esac
    printf '%s\n' "$path"
}

find_edgepose() {
    [ "${EDGEPOSE_PLAIN:-0}" = 0 ] || return 1
    command -v edgepose && return 0
    own=$(dirname "$0")/../.venv/bin/edgepose
    [ -x "$own" ] && printf '%s\n' "$own"
}

# checks -------------------------------------------------------------------------------------------
digest_of() { # algorithm file
    if command -v "${1}sum" >/dev/null 2>&1; then
        "${1}sum" <"$2" | cut -d ' ' -f 1
    else
        shasum -a "${1#sha}" <"$2" | cut -d ' ' -f 1
    fi
}

looks_wrong() { # file bytes algorithm digest key: says what is wrong and succeeds, or fails
    if head -c 512 "$1" | tr '[:upper:]' '[:lower:]' | grep -Eq '^[[:space:]]*<(!doctype html|html)'; then
        printf 'a web page instead of the file (a login page?)\n'
        return 0
    fi
    found=$(wc -c <"$1" | tr -d ' ')
    if [ "$2" != - ] && [ "$found" != "$2" ]; then
        printf '%s bytes, not the published %s\n' "$found" "$2"
        return 0
    fi
    if [ "$3" != - ]; then
        [ "$(digest_of "$3" "$1")" = "$4" ] && return 1
        printf 'another %s than published\n' "$3"
        return 0
    fi
    known=
    [ -f "$pins" ] && known=$(awk -F "$tab" -v k="$5" '$5 == k { print $1 }' "$pins")
    if [ -n "$known" ] && [ "$known" != "$(digest_of sha256 "$1")" ]; then
        printf 'another file than at the first download (pinned in %s)\n' "$pins"
        return 0
    fi
    return 1
}

remember() { # key file origin: pin the digest of a file that has no published one
    [ -f "$pins" ] && grep -q "$tab$1\$" "$pins" && return 0
    (
        command -v flock >/dev/null 2>&1 && exec 8>"$networks/.lock.tsv.lock" && flock 8
        [ -f "$pins" ] || printf '# sha256, bytes, date, address and name of each file without a published checksum\n' >"$pins"
        printf '%s\t%s\t%s\t%s\t%s\n' "$(digest_of sha256 "$2")" "$(wc -c <"$2" | tr -d ' ')" \
            "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$(printf '%s' "$3" | tr '[:space:]' _)" "$1" >>"$pins"
    )
}

# archives: one file is read out of them, so nothing in them can be written anywhere -------------------
shallowest() { awk -F / -v m="$1" '$NF == m && (!n || NF < n) { n = NF; p = $0 } END { if (n) print p }'; }

plain() { # a path that no program takes for an option or a pattern
    case $1 in '' | -* | *[\*\?\[\\]*) return 1 ;; esac
}

unpack() { # archive kind member target
    case $2 in
    tar.gz)
        listing=$(tar -tzf "$1" 2>/dev/null) || return 1
        inside=$(printf '%s\n' "$listing" | shallowest "$3")
        plain "$inside" && tar -xzOf "$1" -- "$inside" | head -c 1073741824 >"$4"
        ;;
    zip)
        if command -v unzip >/dev/null 2>&1; then
            unzip -tqq "$1" >/dev/null 2>&1 || return 1
            inside=$(unzip -Z1 "$1" | shallowest "$3")
            plain "$inside" && unzip -p "$1" "$inside" | head -c 1073741824 >"$4"
        elif command -v python3 >/dev/null 2>&1; then
            python3 - "$1" "$3" >"$4" <<'END'
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as z:
    found = [n for n in z.namelist() if n.split("/")[-1] == sys.argv[2]]
    with z.open(min(found, key=lambda n: n.count("/"))) as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
END
        else
            complain "unpacking a .zip needs unzip or python3: apt-get install unzip"
        fi
        ;;
    esac
    [ -s "$4" ]
}

# the network ----------------------------------------------------------------------------------------
protocols() { # address: https, or http where it is this machine or the user's own mirror
    case $1 in
    http://127.0.0.1[:/]* | http://localhost[:/]*) echo '=http,https' ;;
    http://*)
        case ${EDGEPOSE_MIRROR:-} in
        http://*) echo '=http,https' ;;
        *) echo '=https' ;;
        esac
        ;;
    *) echo '=https' ;;
    esac
}

request() { # address part published-bytes kind-of-digest: one attempt; prints the HTTP status
    address=$1 part=$2 limit=$3 kind=$4 etag=
    [ "$limit" != - ] || limit=4294967296
    if [ -f "$part.etag" ] && [ "$(head -n 1 "$part.etag")" = "$address" ]; then
        etag=$(tail -n 1 "$part.etag")
    fi
    set -- --fail --location --user-agent edgepose-download-models --max-filesize "$limit" \
        --proto "$(protocols "$address")" --proto-redir "$(protocols "$address")" \
        --connect-timeout "$patience" --speed-limit 200 --speed-time "$patience" \
        --dump-header "$part.head" --write-out '%{http_code}' --output "$part"
    # without a published digest only the same server can say that it is still the same file
    if [ -s "$part" ] && { [ "$kind" != - ] || [ -n "$etag" ]; }; then
        set -- "$@" --continue-at -
        [ -z "$etag" ] || set -- "$@" --header "If-Range: $etag"
    else
        rm -f "$part"
    fi
    if [ -t 2 ]; then set -- "$@" --progress-bar; else set -- "$@" --silent; fi
    code=0
    curl "$@" "$address" || code=$?
    if etag=$(tr -d '\r' <"$part.head" 2>/dev/null | sed -n 's/^[Ee][Tt][Aa][Gg]: *\("[^"]*"\)$/\1/p' | tail -n 1) && [ -n "$etag" ]; then
        printf '%s\n%s\n' "$address" "$etag" >"$part.etag"
    fi
    rm -f "$part.head"
    return "$code"
}

fetch() { # address part published-bytes kind-of-digest: attempts until the file is there
    count=0
    while :; do
        code=0
        status=$(request "$@") || code=$?
        [ "$code" != 0 ] || return 0
        count=$((count + 1))
        case $code:$status in
        33:* | 22:416) rm -f "$2" ;; # it cannot go on there: from the start
        22:408 | 22:429 | 22:5??) ;;
        7:* | 18:* | 28:* | 35:* | 52:* | 55:* | 56:* | 92:*) ;;
        *)
            complain "$1: $(reason "$code" "$status")"
            return 1
            ;;
        esac
        if [ "$count" -ge "$tries" ]; then
            complain "$1: $(reason "$code" "$status"), $count attempts"
            return 1
        fi
        say "$1: $(reason "$code" "$status"); trying again in $((delay * count)) s"
        sleep $((delay * count))
    done
}

reason() { # curl's exit code, HTTP status
    case $1 in
    1) echo 'not an https address' ;;
    6) echo 'its name cannot be resolved (no network?)' ;;
    7) echo 'no connection' ;;
    18) echo 'the connection broke' ;;
    22) echo "HTTP $2" ;;
    23) echo "$cache cannot be written" ;;
    28) echo "no answer for $patience s" ;;
    60 | 77) echo 'its certificate cannot be verified' ;;
    63) echo 'more bytes than expected' ;;
    *) echo "curl ended with $1" ;;
    esac
}

# one network --------------------------------------------------------------------------------------------
local_file() { # file member: where --from has it
    if [ -f "$from" ]; then
        case $1 in
        *.bin) printf '%s\n' "${from%.*}.bin" ;;
        *) printf '%s\n' "$from" ;;
        esac
        return
    fi
    for place in "$from/$name/$variant/$1" "$from/$variant/$1" "$from/$name/$1" "$from/$1"; do
        [ ! -f "$place" ] || { printf '%s\n' "$place" && return; }
    done
}

bring() { # archive member file bytes kind digest addresses...: one file into $stage
    archive=$1 member=$2 file=$3 bytes=$4 kind=$5 digest=$6
    shift 6
    key=$name/$variant/$file
    if [ -n "$from" ]; then
        got=$(local_file "$file")
        if [ -z "$got" ] || [ ! -f "$got" ]; then
            complain "$name ($variant): $from holds no $file"
            return 1
        fi
        accept "$got" "$got"
        return
    fi
    if [ "${EDGEPOSE_OFFLINE:-0}" != 0 ]; then
        complain "$name ($variant) is not installed in $networks and EDGEPOSE_OFFLINE is set; use --from PATH"
        return 1
    fi
    [ -z "${EDGEPOSE_MIRROR:-}" ] || set -- "${EDGEPOSE_MIRROR%/}/$key" "$@"
    part=$cache/downloads/$key.part
    mkdir -p "$(dirname "$part")" || return 1
    for address in "$@"; do
        say "$file from $address"
        fetch "$address" "$part" "$bytes" "$kind" || continue
        if accept "$part" "$address"; then
            rm -f "$part" "$part.etag"
            return 0
        fi
        rm -f "$part" "$part.etag"
    done
    complain "$name ($variant): $file could not be fetched; bring it with --from FILE"
    return 1
}

accept() { # path origin: check a file and put it, or what is in it, into $stage
    if wrong=$(looks_wrong "$1" "$bytes" "$kind" "$digest" "$key"); then
        complain "$2: $wrong"
        return 1
    fi
    if [ "$archive" = - ]; then
        cp "$1" "$stage/$file" || return 1
    elif ! unpack "$1" "$archive" "$member" "$stage/$member"; then
        complain "$2: a damaged archive, or no $member in it"
        return 1
    fi
    [ "$kind" != - ] || remember "$key" "$1" "$2"
}

install_one() { # name variant; runs in a shell of its own
    name=$1 variant=$2
    mkdir -p "$networks/$name" || return 1
    if command -v flock >/dev/null 2>&1; then
        exec 9>"$networks/.$name.lock"
        flock -n 9 || { say "another process is at work on $name; waiting for it" && flock 9; }
    fi
    if path=$(installed "$name" "$variant"); then
        say "$name ($variant): installed already"
        printf '%s\n' "$path"
        return 0
    fi
    stage=$networks/$name/.$variant.$$.tmp
    rm -rf "$networks/$name/.$variant".*.tmp
    mkdir "$stage" || return 1
    trap 'rm -rf "$stage"' EXIT
    trap 'exit 130' INT TERM
    while read -r _ _ archive member file bytes kind digest addresses; do
        # shellcheck disable=SC2086  # addresses are words
        bring "$archive" "$member" "$file" "$bytes" "$kind" "$digest" $addresses </dev/null || return 1
    done <<END
$(rows "$name" "$variant")
END
    rm -rf "${networks:?}/$name/$variant"
    mv "$stage" "$networks/$name/$variant" || return 1
    say "$name ($variant): installed"
    installed "$name" "$variant"
}

# which ----------------------------------------------------------------------------------------------------
list() {
    for n in $(names); do
        for v in $(variants "$n"); do
            printf '%-30s %-6s %-9s %s\n' "$n" "$v" "$(size_of "$n" "$v")" "$(installed "$n" "$v" || true)"
        done
    done
}

menu() { # prints the chosen names on stdout, talks on stderr; fails with 1 for "nothing"
    say "Networks (* = installed in $networks)"
    number=0
    for n in $(names); do
        number=$((number + 1))
        mark=' '
        installed "$n" "$(variants "$n" | head -n 1)" >/dev/null && mark='*'
        printf '%3d %s %-30s %s\n' "$number" "$mark" "$n" "$(about "$n")" >&2
    done
    printf 'Numbers or names, a = all, q = quit: ' >&2
    read -r answer || return 1
    for word in $(printf '%s' "$answer" | tr , ' '); do
        case $word in
        q | Q) return 1 ;;
        a | A) names ;;
        *[!0-9]*) printf '%s\n' "$word" ;;
        *)
            chosen=$(names | sed -n "${word}p")
            if [ -z "$chosen" ]; then
                complain "there is no number $word"
                return 2
            fi
            printf '%s\n' "$chosen"
            ;;
        esac
    done
}

about() {
    case $1 in
    resnet18-body) echo 'people, 18 keypoints (the default of posenet)' ;;
    densenet121-body) echo 'people, 18 keypoints, slower and more accurate' ;;
    human-pose-*) echo 'people, 18 keypoints, OpenVINO' ;;
    *-hand) echo 'hands, 21 keypoints' ;;
    rtmpose-*) echo 'people, 17 keypoints, needs a person detector' ;;
    rtmo-*) echo 'people, 17 keypoints, in one pass' ;;
    person-detection-*) echo 'person detector, OpenVINO' ;;
    yolox-*) echo 'person detector' ;;
    esac
}

known() { # name[:variant] as "name variant", or a complaint
    n=$(printf '%s' "${1%%:*}" | tr '[:upper:]_' '[:lower:]-')
    v=$(variants "$n" | head -n 1)
    if [ -z "$v" ]; then
        complain "unknown network '${1%%:*}'; known: $(names | tr '\n' ' ')"
        return 1
    fi
    case $1 in
    *:*)
        v=$(variants "$n" | awk -v w="${1#*:}" 'toupper($0) == toupper(w)')
        if [ -z "$v" ]; then
            complain "$n has no variant '${1#*:}'; it has $(variants "$n" | tr '\n' ' ')"
            return 1
        fi
        ;;
    esac
    printf '%s %s\n' "$n" "$v"
}

main() {
    from='' wanted='' chosen=''
    if [ $# = 0 ]; then
        if [ ! -t 0 ] || [ ! -t 2 ]; then
            usage >&2
            return 2
        fi
        chosen=$(menu) || case $? in 1) return 0 ;; *) return 2 ;; esac
        [ -n "$chosen" ] || return 0
        # shellcheck disable=SC2086  # names are words
        set -- $chosen
    fi
    if [ "$1" = --table ]; then
        table
        return
    fi
    if edgepose=$(find_edgepose); then
        exec "$edgepose" download "$@"
    fi
    while [ $# -gt 0 ]; do
        case $1 in
        -h | --help) usage && return ;;
        --list) list && return ;;
        --all) wanted="$wanted $(names)" ;;
        --from)
            if [ $# -lt 2 ] || [ ! -e "$2" ]; then
                complain "--from needs a file or folder that exists"
                return 2
            fi
            from=$2
            shift
            ;;
        -*)
            complain "$1 needs edgepose installed (pip install edgepose); without it there is this:"
            usage >&2
            return 2
            ;;
        *) wanted="$wanted $1" ;;
        esac
        shift
    done
    command -v curl >/dev/null 2>&1 || [ -n "$from" ] || {
        complain "curl is not installed: apt-get install curl"
        return 1
    }
    good=0 bad=0
    for word in $wanted; do
        pair=$(known "$word") || return 2
        # shellcheck disable=SC2086  # two words
        if (install_one $pair); then good=$((good + 1)); else bad=$((bad + 1)); fi
    done
    [ "$bad" != 0 ] || return 0
    [ "$good" = 0 ] || return 3
    return 1
}

main "$@"
