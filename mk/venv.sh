#!/usr/bin/env bash
# Make the Python environment: mk/venv.sh PYTHON VENV
set -euo pipefail
python=$1 venv=$2

"$python" - <<'PY' || { echo "error: plimsoll needs Python 3.11 or newer (set PYTHON=python3.12)" >&2; exit 1; }
import sys
sys.exit(sys.version_info < (3, 11))
PY
if [ ! -x "$venv/bin/python" ]; then
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      echo "· installing python3-venv"
      apt-get -qq update >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-venv >/dev/null
    else
      echo "error: $python has no venv module; install your system's python3-venv package" >&2
      exit 1
    fi
  fi
  "$python" -m venv "$venv"
fi
echo "· Python packages into $venv (about 20 s the first time)"
[ -x "$venv/bin/uv" ] || "$venv/bin/pip" install -q --disable-pip-version-check uv
VIRTUAL_ENV=$venv "$venv/bin/uv" pip install -q --require-hashes -r requirements.lock
VIRTUAL_ENV=$venv "$venv/bin/uv" pip install -q --no-deps -e .
