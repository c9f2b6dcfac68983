#!/usr/bin/env bash
# Everything that `make test` runs. The Go tools are built beside what does not need them.
set -euo pipefail
cd "$(dirname "$0")/.."
log=$(mktemp)
builder=
trap '[ -z "$builder" ] || kill "$builder" 2>/dev/null || true; rm -f "$log"' EXIT

step() { printf '\n== %s\n' "$*"; }

step "Python environment"
make -s venv
python=.venv/bin/python

step "system packages and Go tools (tools in the background; about 15 minutes the first time, seconds after)"
$python -m debian
nice $python -m gotools kubernetes etcd registry cosign helm pause sigstore languages >"$log" 2>&1 &
builder=$!

step "lint"
make -s lint
step "unit and contract tests"
make -s unit

step "Go tools"
if ! wait "$builder"; then builder=; cat "$log"; echo "error: the Go tools could not be built" >&2; exit 1; fi
builder=
tail -n 8 "$log"

step "integration tests (real servers on loopback)"
make -s integration
step "end-to-end tests (real one-node cluster)"
make -s e2e
