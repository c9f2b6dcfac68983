"""Our own image: our wheel and its dependencies as one APK, and the repository that holds it.

The package has the wheel's closure under ``/usr/lib/plimsoll`` (installed for the target
architecture, with byte code, as a pod cannot write it) and ``/usr/bin/plimsoll``.
Python itself comes from the base packages.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from plimsoll.apk.keys import SigningKey
from plimsoll.apk.packageinfo import PackageInfo
from plimsoll.apk.tarfmt import Type
from plimsoll.apk.writer import PackageFile, write_index, write_package

ROOT = Path(__file__).resolve().parents[2]
PYTHON_VERSION = "3.11"
#: glibc 2.36 is Debian 12's, which the base packages come from.
PLATFORMS = {"x86_64": "x86_64-manylinux_2_36", "aarch64": "aarch64-manylinux_2_36"}
LAUNCHER = """\
#!/usr/bin/python3 -I
import sys

sys.path.insert(0, "/usr/lib/plimsoll")
from plimsoll.cli.main import main

main()
"""


def sources_hash() -> str:
    """Hash of everything the package depends on."""
    digest = hashlib.sha256()
    files = [ROOT / "pyproject.toml", ROOT / "requirements-image.lock", Path(__file__)]
    for portion in ("builder", "operator", "webhook", "core"):
        files += sorted(p for p in (ROOT / portion).rglob("*.py") if "__pycache__" not in p.parts)
    for path in files:
        digest.update(f"{path.relative_to(ROOT)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def install_tree(target: Path, apk_arch: str, wheel: Path) -> None:
    """Install the wheel and its locked dependencies for ``apk_arch`` into ``target``."""
    site = target / "usr/lib/plimsoll"
    site.mkdir(parents=True)
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "-q", "--target", str(site)]
    uv += ["--python-version", PYTHON_VERSION, "--python-platform", PLATFORMS[apk_arch]]
    lock = str(ROOT / "requirements-image.lock")
    subprocess.run([*uv, "--only-binary", ":all:", "--require-hashes", "-r", lock], check=True)
    subprocess.run([*uv, "--no-deps", str(wheel)], check=True)
    shutil.rmtree(site / "bin", ignore_errors=True)
    for junk in [*site.rglob("__pycache__"), *site.rglob("tests")]:
        shutil.rmtree(junk, ignore_errors=True)
    for lock_file in site.glob(".lock"):
        lock_file.unlink()
    for record in site.rglob("*.dist-info/direct_url.json"):
        record.unlink()
    for record in site.rglob("*.dist-info/uv_*"):
        record.unlink()
    compile_all = ["-m", "compileall", "-q", "-j0", "--invalidation-mode", "unchecked-hash"]
    python = shutil.which(f"python{PYTHON_VERSION}") or sys.executable
    subprocess.run(
        [python, *compile_all, "-s", str(target), "-p", "/", str(site)],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    launcher = target / "usr/bin/plimsoll"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)


def tree_files(tree: Path) -> list[PackageFile]:
    """Every file under ``tree``, owned by root and with no times."""
    found = []
    for path in sorted(tree.rglob("*")):
        name = path.relative_to(tree).as_posix()
        if path.is_symlink():
            found.append(PackageFile(name, Type.SYMLINK, 0o777, linkname=str(path.readlink())))
        elif path.is_dir():
            found.append(PackageFile(name, Type.DIRECTORY, 0o755))
        else:
            mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            found.append(PackageFile(name, Type.FILE, mode, content=path))
    return found


def build_repository(out: Path) -> Path:
    """Build the package for both architectures into a signed repository; returns ``out``.

    What is there already is kept when no source changed.
    """
    stamp = out / "sources"
    if stamp.exists() and stamp.read_text() == sources_hash():
        return out
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    key = SigningKey.generate("plimsoll-local.rsa.pub")
    (out / key.name).write_bytes(key.public_pem())
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "build", "-q", "--wheel", "-o", work, ROOT], check=True)
        wheel = next(work.glob("*.whl"))
        version = wheel.name.split("-")[1]
        for arch in PLATFORMS:
            tree = work / arch
            install_tree(tree, arch, wheel)
            info = PackageInfo(
                name="plimsoll",
                version=f"{version}-r0",
                arch=arch,
                origin="plimsoll",
                description="Operator, admission webhook and builder",
                url="https://plimsoll.dev",
                licenses=("Apache-2.0",),
                # google-re2 is C++; everything else in the wheels is self-contained.
                depends=("python3", "libstdc++6"),
            )
            path = out / arch / f"plimsoll-{version}-r0.apk"
            path.parent.mkdir()
            entry = write_package(path, info, tree_files(tree), key=key)
            index = write_index([entry], "plimsoll", key)
            (out / arch / "APKINDEX.tar.gz").write_bytes(index)
    stamp.write_text(sources_hash())
    return out


def main() -> None:
    """``python -m own_image OUT``."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("out", type=Path)
    print(build_repository(parser.parse_args().out))


if __name__ == "__main__":
    main()
