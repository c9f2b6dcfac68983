"""Images as the reference makes them, out of small packages."""

from __future__ import annotations

import gzip
import io
import json
import tarfile

import pytest

from apk_repository import Repository, signing_key
from plimsoll.api.image import ImageConfiguration
from plimsoll.apk.installed import parse_installed
from plimsoll.arch import Arch
from plimsoll.builder.assemble import assemble
from plimsoll.builder.cache import PackageCache
from plimsoll.builder.compose import Recipe
from plimsoll.builder.engine import check_supported
from plimsoll.builder.store import Store

DATE = 1_700_000_000
DATABASE = "usr/lib/apk/db/installed"


class Image:
    """An image that was made: its documents, and its layers as read by another library."""

    def __init__(self, made, warnings):
        self.made = made
        self.warnings = warnings
        self.config = json.loads(made.config)
        self.sbom = json.loads(made.sbom)
        self.layers = []
        for layer in made.layers:
            data = gzip.decompress(b"".join(layer.chunks()))
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                members = tar.getmembers()
                contents = {m.name: tar.extractfile(m).read() for m in members if m.isreg()}
            self.layers.append((members, contents))

    @property
    def members(self):
        return {member.name: member for member in self.layers[-1][0]}

    def read(self, path):
        return self.layers[-1][1][path].decode()

    @property
    def listed(self):
        records = parse_installed(self.read(DATABASE))
        return {r.entry.name: [file.path for file in r.files] for r in records}


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Make an image of packages, (name, files, fields) each, and of a configuration."""
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    with Store(tmp_path / "cache") as store:
        cache = PackageCache(store)
        repository = Repository(tmp_path / "repo", signing_key())

        def image(*packages, build_date=0, keys=(), annotations=None, compat=True, **config):
            found = []
            for name, files, *info in packages:
                fields = {"origin": name, "date": DATE} | (info[0] if info else {})
                repository.add(name, files, archs=("x86_64",), **fields)
                entry = repository.entries["x86_64"][-1]
                path = repository.root / "x86_64" / entry.file_name
                found.append(cache.fill(path, checksum=entry.checksum, source=str(path)))
            model = ImageConfiguration.model_validate({"contents": {}} | config)
            check_supported(model, compat=compat)
            recipe = Recipe(Arch.AMD64, model, found, annotations or {}, keys, compat=compat)
            warnings = []
            return Image(assemble(recipe, store, "image", build_date, warnings.append), warnings)

        yield image
