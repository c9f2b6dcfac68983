"""Keeping a login for a registry where docker and this program look for it."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from plimsoll.builder.store import storage_errors
from plimsoll.errors import Error

if TYPE_CHECKING:
    from collections.abc import Mapping

_DOCKER_KEY = "https://index.docker.io/v1/"
_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class LoginError(Error):
    """A login that cannot be kept."""

    reason = "LoginFailed"


def docker_config_path(environ: Mapping[str, str] | None = None) -> Path:
    """``config.json`` in ``$DOCKER_CONFIG``, else in ``~/.docker``."""
    environ = os.environ if environ is None else environ
    home = Path(environ.get("HOME") or Path.home())
    return Path(environ.get("DOCKER_CONFIG") or home / ".docker") / "config.json"


def save_login(path: Path, registry: str, username: str, password: str) -> str:
    """Keep a login in a docker configuration, or in the credential store that it names.

    The file is readable by its owner only, and replaced at once; everything else in it stays.

    Returns:
        Where the login is now.

    Raises:
        LoginError: the configuration cannot be read, or the credential store refuses.
        StorageError: it cannot be written.
    """
    config = _read(path)
    key = _DOCKER_KEY if registry in {"docker.io", "index.docker.io"} else registry
    helpers = config.get("credHelpers")
    helper = (helpers.get(registry) if isinstance(helpers, dict) else None) or config.get(
        "credsStore"
    )
    if helper:
        _store(str(helper), {"ServerURL": key, "Username": username, "Secret": password})
        config.setdefault("auths", {}).setdefault(key, {})
        _write(path, config)
        return f"docker-credential-{helper}"
    auth = base64.b64encode(f"{username}:{password}".encode()).decode()
    config.setdefault("auths", {})[key] = {"auth": auth}
    _write(path, config)
    return str(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise LoginError(
            f"{path} cannot be read as docker's configuration: {type(error).__name__}",
            hint="repair it, or name another folder in DOCKER_CONFIG",
        ) from None
    if not isinstance(value, dict) or not isinstance(value.get("auths", {}), dict):
        raise LoginError(f"{path} is no docker configuration", hint="repair it, or move it away")
    return value


def _write(path: Path, config: dict[str, Any]) -> None:
    with storage_errors(f"writing {path}"):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # A named temporary file has mode 0600 from its first byte on.
        with NamedTemporaryFile("w", dir=path.parent, prefix=".config-", delete=False) as file:
            try:
                json.dump(config, file, indent=2)
                file.write("\n")
                file.close()
                Path(file.name).replace(path.resolve())
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


def _store(helper: str, login: dict[str, str]) -> None:
    if not _HELPER.fullmatch(helper):
        raise LoginError(f"{helper[:60]!r} is no credential helper's name")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "store"],
            input=json.dumps(login).encode(),
            capture_output=True,
            check=False,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LoginError(
            f"{program} does not run: {type(error).__name__}",
            hint="install it, or remove credsStore from docker's configuration",
        ) from None
    if done.returncode != 0:
        raise LoginError(
            f"{program} did not take the login (exit status {done.returncode})",
            hint=done.stdout.decode(errors="replace").strip()[:200] or None,
        )
