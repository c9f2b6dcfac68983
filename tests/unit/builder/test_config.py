from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll import yaml12
from plimsoll.api.accounts import Accounts, Group, User
from plimsoll.api.image import ImageConfiguration, Layering
from plimsoll.api.image import Path as ImagePath
from plimsoll.api.imagecontents import Certificates, Contents
from plimsoll.api.imageprocess import Entrypoint, Healthcheck
from plimsoll.builder.config import load_config, parse_config
from plimsoll.builder.configerrors import ConfigError
from plimsoll.errors import Error


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


#: Of every field: a wrong name, a wrong type, a wrong value.
MISTAKES = [
    ("- a\n", "1:1", "is a mapping, this is a list"),
    ("x", "1:1", "this is one value"),
    ("entry-point: {}", "1:1", "unknown field 'entry-point': did you mean 'entrypoint'?"),
    ("xyzzy: 1", "1:1", "unknown field 'xyzzy'"),
    ("include: [a]", "1:1", "include: text is wanted, not a list"),
    ("contents: text", "1:1", "contents: a mapping is wanted, not 'text'"),
    ("contents:\n  package: [a]\n", "2:3", "did you mean 'packages'?"),
    ("contents: {build-repositories: []}", "1:12", "did you mean 'build_repositories'?"),
    ("contents: {packages: {a: b}}", "1:12", "a list is wanted, not a mapping"),
    ("contents: {packages: a}", "1:12", "a list is wanted, not 'a'"),
    ("contents: {packages: [[a]]}", "1:23", "contents.packages.0: text is wanted, not a list"),
    ("contents:\n  packages:\n  - a\n  -\n", "4:4", "packages.1: text is wanted, not nothing"),
    ("contents:\n  packages:\n  - a\n  - b=>1\n", "4:5", "contents.packages.1: "),
    ("contents: {keyring: a.pub}", "1:12", "a list is wanted"),
    ("contents: {repositories: [ftp://x.example/os]}", "1:27", "the scheme 'ftp'"),
    ("contents: {repositories: ['https://me:secret@[x/os']}", "1:27", "'[x/os' is no URL"),
    ("contents: {build_repositories: ['@a-b https://x']}", "1:33", "is no repository"),
    ("contents: {runtime_repositories: 7}", "1:12", "a list is wanted, not 7"),
    ("contents: {runtime_keyring: [{name: a}]}", "1:30", "'a' has no content"),
    ("contents: {runtime_keyring: [{name: a, content: x}]}", "1:30", "key a cannot be read"),
    ("contents: {runtime_keyring: [{name: a/b, content: x}]}", "1:31", "the invalid name 'a/b'"),
    ("contents: {runtime_keyring: [{nam: a}]}", "1:31", "did you mean 'name'?"),
    ("contents: {baseimage: base}", "1:12", "contents.baseimage: a mapping is wanted"),
    ("contents: {baseimage: {}}", "1:12", "contents.baseimage.image is missing"),
    ("contents: {baseimage: {image: ''}}", "1:24", "contents.baseimage.image is empty"),
    ("contents: {baseimage: {image: x, index: y}}", "1:34", "did you mean 'apkindex'?"),
    ("contents: {baseimage: {image: x}}\ncmd: y\npaths: [{path: /a, type: file}]\n", "2:1",
     "cmd and paths cannot be set on a base image"),
    ("entrypoint: run", "1:1", "entrypoint: a mapping is wanted, not 'run'"),
    ("entrypoint: {comand: x}", "1:14", "did you mean 'command'?"),
    ("entrypoint: {command: [a, b]}", "1:14", "entrypoint.command: text is wanted, not a list"),
    ("entrypoint: {command: 'a \"b'}", "1:14", "cannot be split into words: no closing quotation"),
    ("entrypoint: {shell_fragment: x}", "1:14", "did you mean 'shell-fragment'?"),
    ("entrypoint: {type: service}", "1:14", "did you mean 'service-bundle'?"),
    ("entrypoint: {services: [a]}", "1:14", "entrypoint.services: a mapping is wanted"),
    ("entrypoint: {services: {a/b: c}}", "1:25", "'a/b' cannot be the name of a service"),
    ("cmd: [a]", "1:1", "cmd: text is wanted, not a list"),
    ("cmd: a 'b", "1:1", "cmd: \"a 'b\" cannot be split"),
    ("healthcheck: {}", "1:1", "needs one of command, shell-fragment"),
    ("healthcheck: {command: a, start_period: 1s}", "1:27", "did you mean 'start-period'?"),
    ("healthcheck: {command: a, interval: 500ms}", "1:27", "'500ms' is no duration"),
    ("healthcheck: {command: a, timeout: [5s]}", "1:27", "text is wanted, not a list"),
    ("healthcheck: {command: a, retries: 0}", "1:27", "0 is not at least 1"),
    ("stop_signal: TERM", "1:1", "did you mean 'stop-signal'?"),
    ("stop-signal: SIGTREM", "1:1", "'SIGTREM' is no signal: did you mean 'SIGTERM'?"),
    ("work_dir: /\n", "1:1", "did you mean 'work-dir'?"),
    ("work-dir: app", "1:1", "'app' does not begin with '/'"),
    ("accounts: []", "1:1", "accounts: a mapping is wanted"),
    ("accounts: {run-as: [x]}", "1:12", "accounts.run-as: text is wanted, not a list"),
    ("accounts: {runas: x}", "1:12", "did you mean 'run-as'?"),
    ("accounts:\n  users:\n    - username: x\n      uid: 1\n      gdi: 1\n", "5:7",
     "in accounts.users.0: did you mean 'gid'?"),
    ("accounts:\n  users:\n    - username: root\n", "3:7", "use 'run-as: 0'"),
    ("accounts: {users: [{username: x, uid: '7'}]}", "1:34", "a whole number is wanted, not '7'"),
    ("accounts: {users: [{username: x, uid: true}]}", "1:34", "a whole number is wanted, not true"),
    ("accounts: {users: [{username: x, uid: 1, shell: [a]}]}", "1:42", "shell: text is wanted"),
    ("accounts: {users: [{username: x, uid: 1, homedir: a:b}]}", "1:42", "passwd cannot hold"),
    ("accounts: {users: [{username: x, uid: -1}]}", "1:34", "-1 is not at least 0"),
    ("accounts: {users: [{username: 'x:y', uid: 1}]}", "1:21", "passwd cannot hold"),
    ("accounts: {groups: [{gid: 5}]}", "1:21", "has no groupname"),
    ('accounts: {groups: [{groupname: x, members: ["a\\nroot:x:0:0"]}]}', "1:46",
     "cannot be the name of a user"),
    ("archs: amd64", "1:1", "archs: a list is wanted, not 'amd64'"),
    ("archs: [arm64, amd46]", "1:16", "archs.1: unknown architecture 'amd46'"),
    ("environment: [A=b]", "1:1", "environment: a mapping is wanted"),
    ("environment: {A: [b]}", "1:15", "environment.A: text is wanted, not a list"),
    ("environment:\n  A: b\n  B=C: d\n", "3:3", "'B=C' cannot be a name here"),
    ("paths: {path: /x}", "1:1", "paths: a list is wanted, not a mapping"),
    ("paths:\n  - type: directory\n", "2:5", "paths.0.path is missing"),
    ("paths:\n  - path: /x\n    type: dir\n", "3:5", "did you mean 'directory'?"),
    ("paths: [{path: /x, type: symlink}]", "1:9", "a symlink needs a source"),
    ("paths: [{path: /x, type: file, source: y}]", "1:32", "a file has content"),
    ("paths: [{path: /x, type: directory, permissions: 0o77777}]", "1:37", "more than twelve"),
    ("paths: [{path: /x, type: directory, permissions: 755}]", "1:37", "write 0o755"),
    ("paths: [{path: /x, type: directory, recursive: 'yes'}]", "1:37", "true or false is wanted"),
    ("vcs-url: []", "1:1", "vcs-url: text is wanted, not a list"),
    ("annotations: {'': b}", "1:15", "'' cannot be a name here"),
    ("volumes: /data", "1:1", "volumes: a list is wanted, not '/data'"),
    ("layering: origin", "1:1", "layering: a mapping is wanted, not 'origin'"),
    ("layering: {strategy: orgin, budget: 1}", "1:12", "did you mean 'origin'?"),
    ("layering: {strategy: origin}", "1:1", "needs a budget of 1 or more"),
    ("layering: {strategy: origin, budget: '3'}", "1:30", "a whole number is wanted"),
    ("compression: zst", "1:1", "did you mean 'zstd'?"),
    ("certificates: {aditional: []}", "1:16", "did you mean 'additional'?"),
    ("certificates: {additional: [{name: a, content: x}]}", "1:29", "holds no PEM certificate"),
    ("certificates: {providers: x}", "1:16", "certificates.providers: a list is wanted"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "words"), MISTAKES)
def test_mistakes_name_place_and_remedy(text, place, words):
    with pytest.raises(ConfigError) as caught:
        parse_config(text, "f.yaml")
    assert caught.value.message.startswith(f"f.yaml:{place}: ")
    assert words in caught.value.message


def test_the_mistakes_are_of_every_field():
    tried = "\n".join(text for text, _, _ in MISTAKES)
    for model in (ImageConfiguration, Contents, Entrypoint, Healthcheck, Accounts, User, Group):
        words = [info.alias or name for name, info in model.model_fields.items()]
        assert [word for word in words if not re.search(rf"\b{word[:4]}", tried)] == []


@pytest.mark.parametrize(("text", "place", "words"), MISTAKES[2:])
def test_mistakes_in_included_files_name_those(text, place, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("over.yaml").write_text("include: under.yaml\n")
    Path("under.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(Path("over.yaml"))
    assert caught.value.message.startswith(f"under.yaml:{place}: ")
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("written", "mode"),
    [("0o755", 0o755), ("0755", 0o755), ("'0o4755'", 0o4755), ("'0755'", 0o755), ("493", 0o755),
     ("0", 0), ("1023", 0o1777)],
)  # fmt: skip
def test_modes(written, mode):
    config = parse_config(f"paths: [{{path: /x, type: directory, permissions: {written}}}]", "f")
    assert config.paths[0].permissions == mode


@pytest.mark.parametrize("name", ["SIGTERM", "TERM", "sigquit", "SIGRTMIN+3", "RTMAX-1", "15", 15])
def test_signals(name):
    assert parse_config(f"stop-signal: {name}", "f").stop_signal == str(name)


WORDS = st.sampled_from(["", "a", "0o9", "²", "http://[", "@ x", "a'b", "SIGRTMIN+", "9" * 5000])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
FIELDS = [
    (section, name)
    for section, model in (("", ImageConfiguration), ("contents", Contents),
                           ("entrypoint", Entrypoint), ("healthcheck", Healthcheck),
                           ("accounts", Accounts), ("paths", ImagePath), ("layering", Layering),
                           ("certificates", Certificates))
    for name in (info.alias or field for field, info in model.model_fields.items())
]  # fmt: skip


@given(st.sampled_from(FIELDS), VALUES)
def test_any_value_of_any_field_is_read_or_refused(field, value):
    section, name = field
    inner = {"path": "/x", "type": "file", name: value} if section == "paths" else {name: value}
    whole = {section: [inner] if section == "paths" else inner} if section else inner
    with contextlib.suppress(Error):
        parse_config(json.dumps(whole), "f.yaml")


def test_every_mistake_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        parse_config("a: 1\nb: 2\n", "f.yaml")
    assert caught.value.message.count("\n") == 1


@pytest.mark.parametrize("items", ["paths: [{}]", "archs: [{}]"])
def test_of_very_many_mistakes_the_first_are_told(items):
    with pytest.raises(ConfigError) as caught:
        parse_config(items.format(", ".join(["none"] * 90)), "f.yaml")
    lines = caught.value.message.split("\n")
    assert len(lines) == 21
    assert lines[-1] == "and 70 more mistakes"


def test_unquoted_scalars_are_text_where_text_is_meant():
    config = parse_config(
        "environment: {A: 0o7, B: 1.50, C: true}\naccounts: {run-as: 65532}\ncontents:\n", "f.yaml"
    )
    assert config.environment == {"A": "0o7", "B": "1.50", "C": "true"}
    assert config.accounts.run_as == "65532"


def test_a_value_may_be_left_empty():
    """As apko takes it: the variable is there, and empty."""
    config = parse_config("environment: {A: }\nannotations: {b: }\naccounts:\n", "f.yaml")
    assert (config.environment, config.annotations) == ({"A": ""}, {"b": ""})


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


def test_every_field_is_merged(tmp_path: Path):
    """Whoever sets it; where both do, ``over.yaml`` wins, or the lists are joined."""
    values = {
        "contents": '{"packages": ["NAME"], "keyring": ["NAME"], "repositories": ["NAME"], '
        '"build_repositories": ["NAME"], "runtime_repositories": ["NAME"]}',
        "entrypoint": '{"command": "NAME"}',
        "cmd": '"NAME"',
        "healthcheck": '{"command": "NAME"}',
        "stop-signal": '"TERM"',
        "work-dir": '"/NAME"',
        "accounts": '{"run-as": "NAME", "users": [{"username": "NAME", "uid": 5}], '
        '"groups": [{"groupname": "NAME", "gid": 5}]}',
        "archs": '["arm64"]',
        "environment": '{"A": "NAME"}',
        "paths": '[{"path": "/NAME", "type": "directory"}]',
        "vcs-url": '"NAME"',
        "annotations": '{"a": "NAME"}',
        "volumes": '["/NAME"]',
        "layering": '{"strategy": "origin", "budget": 3}',
        "compression": '"zstd"',
        "certificates": '{"providers": ["NAME"]}',
    }
    assert set(values) | {"include"} == {
        info.alias or name for name, info in ImageConfiguration.model_fields.items()
    }
    under = "".join(f"{k}: {v.replace('NAME', 'under')}\n" for k, v in values.items())
    (tmp_path / "under.yaml").write_text(under)
    (tmp_path / "over.yaml").write_text("include: under.yaml\n")
    one = load_config(tmp_path / "under.yaml").config
    assert load_config(tmp_path / "over.yaml").config == one.model_copy(update={"vcs_url": ""})
    over = "".join(f"{k}: {v.replace('NAME', 'over')}\n" for k, v in values.items())
    (tmp_path / "over.yaml").write_text(f"include: under.yaml\n{over}")
    both = load_config(tmp_path / "over.yaml").config
    other = parse_config(over, "f")
    for name in (
        "entrypoint", "cmd", "healthcheck", "work_dir", "environment", "vcs_url", "annotations",
        "certificates", "layering", "compression", "stop_signal", "archs",
    ):  # fmt: skip
        assert getattr(both, name) == getattr(other, name), name
    assert both.contents.packages == both.contents.keyring == ["under", "over"]
    assert both.contents.build_repositories == both.contents.runtime_repositories
    assert both.contents.repositories == both.contents.packages
    assert both.volumes == ["/under", "/over"]
    assert [path.path for path in both.paths] == ["/under", "/over"]
    assert both.accounts.run_as == "over"
    assert [user.username for user in both.accounts.users] == ["under", "over"]
    assert [group.groupname for group in both.accounts.groups] == ["under", "over"]


def test_single_layer_over_included_layering(tmp_path: Path):
    (tmp_path / "under.yaml").write_text("layering: {strategy: package, budget: 5}\n")
    (tmp_path / "over.yaml").write_text("include: under.yaml\nlayering: {}\n")
    layering = load_config(tmp_path / "over.yaml").config.layering
    assert layering is not None
    assert layering.strategy == ""


def test_includes_that_cannot_be_followed(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("# first\ninclude: b.yaml\n")
    Path("b.yaml").write_text("include: a.yaml\n")
    Path("c.yaml").write_text("cmd: x\ninclude: gone.yaml\n")
    with pytest.raises(ConfigError, match=r"^b\.yaml:1:1: a\.yaml includes itself"):
        load_config(Path("a.yaml"))
    with pytest.raises(ConfigError, match=r"^c\.yaml:2:1: there is no file gone\.yaml"):
        load_config(Path("c.yaml"))
    with pytest.raises(ConfigError, match=r"^no configuration file none\.yaml"):
        load_config(Path("none.yaml"))


def test_what_a_base_image_forbids_in_another_file(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("under.yaml").write_text("contents:\n  baseimage: {image: base}\n")
    Path("over.yaml").write_text("include: under.yaml\ncmd: run\n")
    with pytest.raises(ConfigError) as caught:
        load_config(Path("over.yaml"))
    assert caught.value.message == (
        "over.yaml:2:1: cmd cannot be set on the base image of under.yaml:2:3"
    )
