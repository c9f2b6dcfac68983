"""Look for input that breaks a reader: ``python tests/fuzz/fuzz.py [TARGET...] [--seconds N]``.

Needs atheris (``uv pip install atheris``). What reached new code is added to the corpus; what
broke a reader stays there too, so that the corpus test fails until it is mended.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
sys.path.insert(0, str(HERE.parent / "support"))
_MAX_INPUT = 16 << 10


def main() -> int:
    """Fuzz targets one after another, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--work", type=Path, default=Path("build/fuzz"), help="for what is found")
    options = parser.parse_args()
    from fuzz_targets import TARGETS  # noqa: PLC0415  (after the path is set)

    failed = []
    for name in options.targets or TARGETS:
        found = options.work / name
        found.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(Path(__file__)), "--child", name, str(found)]
        command += [str(CORPUS / name), f"-max_total_time={options.seconds}"]
        command += [f"-artifact_prefix={found}/crash-", "-rss_limit_mb=2048", "-timeout=20"]
        command += [f"-max_len={_MAX_INPUT}", "-verbosity=0", "-print_final_stats=1"]
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
        for crash in sorted(found.glob("crash-*")):
            data = crash.read_bytes()
            (CORPUS / name / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
            crash.unlink()
    if failed:
        sys.stdout.write(f"broken: {', '.join(failed)}; the input is in {CORPUS}\n")
    return bool(failed)


def child(name: str, arguments: list[str]) -> None:
    """Fuzz one target with libFuzzer's arguments."""
    import atheris  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415

    with atheris.instrument_imports(include=["plimsoll"]):
        from fuzz_targets import TARGETS  # noqa: PLC0415
        from plimsoll.errors import Error  # noqa: PLC0415

    def once(data: bytes) -> None:
        try:
            TARGETS[name](data)
        except Error:
            return

    atheris.Setup([sys.argv[0], *arguments], once)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
