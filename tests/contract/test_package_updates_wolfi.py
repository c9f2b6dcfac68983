"""Every ``update`` of real configurations is understood, and finds the version that they have."""

from __future__ import annotations

import pytest

from plimsoll.builder.package.edit import steps
from plimsoll.builder.package.load import load_file
from plimsoll.builder.package.substitute import replace_known
from plimsoll.builder.package.variables import as_text
from plimsoll.builder.updates.model import Service
from plimsoll.builder.updates.plan import plan
from shared_data import DATA

FILES = sorted((DATA / "wolfi").glob("*.yaml"))


def checkout_tag(loaded):
    """The tag of the first checkout that has one, for the version that there is."""
    for _, step in steps(loaded.document.value):
        given = step.get("with") or {}
        if step["uses"] == "git-checkout" and given.get("tag"):
            return replace_known(as_text(given["tag"]), loaded.variables)
    return ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_update(path):
    loaded = load_file(path)
    request = plan(loaded, path)
    assert request.query or request.reason
    if request.query is None or request.query.service is Service.RELEASE_MONITOR:
        return
    tag = checkout_tag(loaded)
    if tag:
        found = request.rules.version(tag)
        assert found is not None
        assert found.text == request.version
        assert tag.startswith(request.query.prefix)


def test_all_kinds_occur():
    if not FILES:
        pytest.skip("the data are not here")
    queries = [plan(load_file(path), path).query for path in FILES]
    services = {query.service for query in queries if query}
    assert services >= {
        Service.RELEASE_MONITOR,
        Service.GITHUB_RELEASES,
        Service.GITHUB_TAGS,
        Service.GIT,
    }
