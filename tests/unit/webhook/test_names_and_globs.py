from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.api.imageglob import Glob
from plimsoll.oci.reference import Reference
from plimsoll.webhook.names import qualified, spellings

_D = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "same",
    [
        ["nginx", "nginx:latest", "library/nginx", "docker.io/nginx", "index.docker.io/nginx"],
        ["team/app", "docker.io/team/app", "registry-1.docker.io/team/app:latest"],
        ["ghcr.io/a/b", "ghcr.io/a/b:latest"],
        [f"nginx@{_D}", f"docker.io/library/nginx@{_D}"],
    ],
)
def test_one_image_has_the_same_names_however_it_is_written(same):
    assert len({frozenset(spellings(Reference.parse(text))) for text in same}) == 1
    first = Reference.parse(same[0])
    assert spellings(first)[0] == qualified(first)
    for text in same:
        assert text in spellings(first) or "registry-1" in text or text == "index.docker.io/nginx"


def test_a_digest_hides_no_tag_from_a_glob_and_invents_none():
    reference = Reference.parse(f"ghcr.io/a:v1@{_D}")
    assert spellings(reference) == (f"ghcr.io/a@{_D}", f"ghcr.io/a:v1@{_D}")
    assert qualified(reference) == f"ghcr.io/a@{_D}"


_PIECES = st.lists(st.sampled_from(["*", "**", "***", "a", "b", "/", ":", ".", "aa"]), min_size=1)


@given(_PIECES.map("".join), st.text("ab/:.", max_size=12))
def test_globs_mean_what_a_regular_expression_would(glob, name):
    if glob in {"*", "*/*"}:
        return
    pattern = "".join(
        (".*" if len(part) > 1 else "[^/]*") if part.startswith("*") else re.escape(part)
        for part in re.findall(r"\*+|[^*]", glob)
    )
    assert Glob(glob).matches(name) == bool(re.fullmatch(pattern, name, re.DOTALL))


def test_no_glob_takes_long():
    assert not Glob("**a" * 200 + "b").matches("a" * 4000)
