#!/bin/sh
# Build sdist and wheel, install the wheel into a fresh virtual environment, and use it there without
# the repository: posenet on a picture, networks, doctor. Then the same from the sdist.
#
# usage: tools/check_wheel.sh [PYTHON]       about two minutes; needs a package index
set -eu

python=${1:-python3}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/edgepose-wheel.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

step() { printf '== %s\n' "$*" >&2; }

step "build"
"$python" -m venv "$work/build"
"$work/build/bin/python" -m pip install --quiet build
# a copy: a build writes beside its sources
mkdir "$work/src"
(cd "$root" && git ls-files -z | tar --create --null --files-from=- --ignore-failed-read) | tar -x -C "$work/src"
"$work/build/bin/python" -m build --outdir "$work/dist" "$work/src" >"$work/build.log" 2>&1 || {
    tail -n 30 "$work/build.log" >&2
    exit 1
}
ls -l "$work/dist" >&2

use() { # FILE: install it alone and run it from an empty folder
    rm -rf "$work/venv" "$work/run"
    "$python" -m venv "$work/venv"
    "$work/venv/bin/python" -m pip install --quiet "$1"
    mkdir "$work/run"
    cp "$root/examples/images/astronaut.jpg" "$work/run/photo.jpg"
    (
        cd "$work/run"
        PATH=$work/venv/bin:$PATH
        EDGEPOSE_HOME=$work/run/home
        EDGEPOSE_CACHE=$work/run/cache
        export PATH EDGEPOSE_HOME EDGEPOSE_CACHE
        unset PYTHONPATH || true
        posenet --network fast photo.jpg out.jpg --json poses.jsonl
        posenet --network fast "test://people?rate=0&frames=5" people.mp4 --json - >people.jsonl
        edgepose --version
        edgepose networks >/dev/null
        edgepose doctor --offline || test $? -eq 1
        python - <<'END'
import json, pathlib, edgepose
assert "site-packages" in edgepose.__file__, edgepose.__file__
rows = [json.loads(line) for line in open("people.jsonl")]
assert len(rows) == 5 and all(row["poses"] for row in rows), rows
assert pathlib.Path("out.jpg").stat().st_size > 10_000
assert pathlib.Path("people.mp4").stat().st_size > 1_000
END
    )
}

for file in "$work"/dist/*.whl "$work"/dist/*.tar.gz; do
    step "$(basename "$file")"
    use "$file"
done
step "both work"
