#!/bin/sh
# Makes the stock clients' own environments: .venv-clients (Python) and node/node_modules.
# They stand apart because the openai SDK pins an older `websockets` than the server ships with.
# Quick when nothing changed: a stamp holds the checksum of what each was made from.
#
# New pins: uv pip compile requirements.in --universal --python-version 3.11 --generate-hashes \
#             --no-emit-index-url --no-header -o requirements.lock
#           (cd node && npm install --package-lock-only --omit-lockfile-registry-resolved)
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
venv="$root/.venv-clients"
uv="$root/.venv/bin/uv"
python=${PYTHON:-$root/.venv/bin/python}
[ -x "$python" ] || python=$(command -v python3)

stamped() { # stamped STAMP FILE… : whether STAMP was written for these files
    stamp=$1
    shift
    [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(cat "$@" | cksum)" ]
}

if ! stamped "$venv/stamp" "$here/requirements.lock"; then
    "$python" -m venv --clear "$venv"
    { [ -x "$uv" ] && "$uv" pip install -q --python "$venv/bin/python" --no-deps \
        --require-hashes -r "$here/requirements.lock"; } ||
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
            --require-hashes -r "$here/requirements.lock"
    cksum <"$here/requirements.lock" >"$venv/stamp"
fi

modules="$here/node/node_modules"
if ! command -v npm >/dev/null; then
    echo "setup.sh: npm is not installed; the tests of the JavaScript client cannot run" >&2
    [ -z "${CI:-}" ] || exit 1
elif ! stamped "$modules/.stamp" "$here/node/package.json" "$here/node/package-lock.json"; then
    (cd "$here/node" && npm ci --no-audit --no-fund --loglevel=error)
    cat "$here/node/package.json" "$here/node/package-lock.json" | cksum >"$modules/.stamp"
fi
