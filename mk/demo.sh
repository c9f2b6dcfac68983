#!/usr/bin/env bash
# The main job on a real one-node cluster. What it makes lies under ~/.cache/plimsoll.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "· the demo takes about 20 minutes the first time (Go tools), 4 minutes after"
make -s venv
.venv/bin/python -m scenario --check
.venv/bin/python -m debian
.venv/bin/python -m gotools kubernetes etcd registry cosign helm pause sigstore
exec .venv/bin/python -m scenario
