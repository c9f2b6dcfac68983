from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll import yaml12
from plimsoll.builder.config import ConfigError, load_config, parse_config
from plimsoll.errors import Error

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0o755", 0o755),
        ("0x1F", 31),
        ("0755", 755),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        ("", None),
        ("1.5e3", 1500.0),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("'0o755'", "0o755"),
        ("[a, 1]", ["a", 1]),
    ],
)
def test_core_schema(text, value):
    assert yaml12.load(text, "f.yaml").value == value


def test_places_and_merge_keys():
    document = yaml12.load("a: &x {k: 1}\nb:\n  - <<: *x\n    c: 2\n", "f.yaml")
    assert document.value == {"a": {"k": 1}, "b": [{"k": 1, "c": 2}]}
    assert str(document.place(("b", 0, "c"))) == "f.yaml:4:5"
    assert str(document.place(("b", 7, "nowhere"))) == "f.yaml:2:1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "f.yaml:2:1: the key 'a' is already at f.yaml:1:1"),
        ("a: [1\n", "f.yaml:2:1: did not find expected ',' or ']'"),
        ("a:\n\tb: 1\n", "f.yaml:2:1"),
        ("? [a]\n: 1\n", "f.yaml:1:3: a key must be text"),
        ("!!int x", "f.yaml:1:1: 'x' is no int"),
        ("a: 1\n---\nb: 1\n", "f.yaml:2:1"),
        ("a: \x00", "not readable"),
    ],
)
def test_bad_yaml_names_the_place(text, message):
    with pytest.raises(Error) as caught:
        yaml12.load(text, "f.yaml")
    assert message in str(caught.value)


def test_aliases_of_aliases_are_bounded():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(yaml12.YamlError, match="values or"):
        yaml12.load("\n".join(lines), "f.yaml")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(Error):
        parse_config(text, "f.yaml")


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("contents:\n  package: [a]\n", "f.yaml:2:3", "did you mean 'packages'?"),
        ("work_dir: /\n", "f.yaml:1:1", "did you mean 'work-dir'?"),
        ("accounts:\n  users:\n    - username: x\n      uid: 1\n      gdi: 1\n", "f.yaml:5:7",
         "in accounts.users.0: did you mean 'gid'?"),
        ("paths:\n  - path: /x\n    type: dir\n", "f.yaml:3:5", "paths.0.type"),
        ("paths:\n  - type: directory\n", "f.yaml:2:5", "paths.0.path is missing"),
        ("accounts:\n  users:\n    - username: root\n", "f.yaml:3:7", "use 'run-as: 0'"),
        ("layering: {strategy: onion, budget: 1}\n", "f.yaml:1:12", "layering.strategy"),
        ("- a\n", "f.yaml:1:1", "is a mapping"),
        ("contents: {packages: {a: b}}\n", "f.yaml:1:12", "valid list"),
    ],
)  # fmt: skip
def test_mistakes_name_place_and_remedy(text, place, words):
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "f.yaml")
    assert caught.value.message.startswith(place)
    assert words in caught.value.message


def test_every_mistake_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        parse_config("a: 1\nb: 2\n", "f.yaml")
    assert caught.value.message.count("\n") == 1


def test_unquoted_scalars_are_text_where_text_is_meant():
    config = parse_config(
        "environment: {A: 0o7, B: 1.50, C: true}\naccounts: {run-as: 65532}\ncontents:\n", "f.yaml"
    )
    assert config.environment == {"A": "0o7", "B": "1.50", "C": "true"}
    assert config.accounts.run_as == "65532"


def test_include(tmp_path: Path):
    (tmp_path / "base.yaml").write_text(
        "contents: {packages: [a], repositories: [r]}\ncmd: base\nvcs-url: x\n"
        "entrypoint: {command: base}\nenvironment: {A: 1, B: 1}\narchs: [amd64]\n"
    )
    (tmp_path / "over.yaml").write_text(
        "include: base.yaml\ncontents: {packages: [b]}\nentrypoint: {command: over}\n"
        "environment: {B: 2}\n"
    )
    loaded = load_config(tmp_path / "over.yaml")
    config = loaded.config
    assert config.contents.packages == ["a", "b"]
    assert config.contents.repositories == ["r"]
    assert (config.cmd, config.entrypoint.command, config.vcs_url) == ("base", "over", "")
    assert config.environment == {"A": "1", "B": "2"}
    assert config.archs == ["amd64"]
    assert loaded.checksum.startswith("sha256-")
    assert [f.name for f in loaded.files] == ["over.yaml", "base.yaml"]


def test_include_of_itself_and_of_nothing(tmp_path: Path):
    (tmp_path / "a.yaml").write_text("include: b.yaml\n")
    (tmp_path / "b.yaml").write_text("include: a.yaml\n")
    (tmp_path / "c.yaml").write_text("include: gone.yaml\n")
    with pytest.raises(ConfigError, match="includes itself"):
        load_config(tmp_path / "a.yaml")
    with pytest.raises(ConfigError, match=r"no configuration file gone\.yaml"):
        load_config(tmp_path / "c.yaml")
