#!/usr/bin/env bash
# Stop the demo's cluster and remove its state; packages and tools stay in the cache.
set -euo pipefail
cd "$(dirname "$0")/.."
state=${PLIMSOLL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/plimsoll}/demo
[ -d "$state" ] || { echo "there is no demo to remove"; exit 0; }
.venv/bin/python -m scenario.down "$state/cluster"
rm -rf "$state"
