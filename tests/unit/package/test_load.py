from __future__ import annotations

import pytest

from plimsoll.builder.package.load import load_file, load_text
from plimsoll.errors import Error

HEAD = "package:\n  name: a\n  version: 1.2.3\n  epoch: 4\n"


def _load(text, **options):
    return load_text(HEAD + text, "x.yaml", **options)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pipline: []\n", "x.yaml:5:1: unknown field 'pipline': did you mean 'pipeline'?"),
        (
            "pipeline:\n  - runs: a\n    nedds: {}\n",
            "x.yaml:7:5: unknown field 'nedds' in pipeline.0: did you mean 'needs'?",
        ),
        ("pipeline:\n  - {uses: b, runs: a}\n", "x.yaml:6:5: pipeline.0: a step has either"),
        ("pipeline:\n  - {with: {a: b}}\n", "x.yaml:6:5: pipeline.0: 'with' gives inputs"),
        (
            "pipeline:\n  - uses: fetch\n    with:\n      expected-sha256: abc\n",
            "x.yaml:6:5: pipeline.0: expected-sha256 has 64 hexadecimal digits, 'abc' has not",
        ),
        (
            "pipeline:\n  - pipeline:\n      - runs: a\n        environment: {a-b: c}\n",
            "x.yaml:7:9: pipeline.0.pipeline.0: 'a-b' cannot be the name of an environment",
        ),
        (
            "subpackages:\n  - name: b\n  - name: a\n",
            "x.yaml:7:5: the name 'a' is taken by the package at x.yaml:2:3",
        ),
        (
            "subpackages:\n  - name: b/c\n",
            "x.yaml:6:5: subpackages.0.name: 'b/c' cannot be the name of a package",
        ),
        (
            "subpackages:\n  - {name: b, range: none}\n",
            "x.yaml:6:15: there is no data named 'none'",
        ),
        (
            "data:\n  - {name: d}\n  - {name: d}\n",
            "",
        ),
        (
            "data:\n  - {name: d}\n  - {name: d}\nsubpackages:\n  - {name: b, range: d}\n",
            "x.yaml:7:5: there are two data named 'd'",
        ),
        (
            "vars:\n  one: ${{vars.two}}\n  two: ${{vars.one}}\n",
            "x.yaml:6:3: variables use each other in a circle: vars.one → vars.two → vars.one",
        ),
        (
            "var-transforms:\n  - {from: a, match: '(', replace: b, to: c}\n",
            "x.yaml:6:5: '(' is no regular expression: missing ): (",
        ),
        (
            "var-transforms:\n  - {from: a, match: '(?=a)', replace: b, to: c}\n",
            "x.yaml:6:5: '(?=a)' is no regular expression",
        ),
        ("environment:\n  content: {}\n", "x.yaml:6:3: unknown field 'content' in environment"),
        ("update:\n  schedule: {period: hourly}\n", "x.yaml:6:14: update.schedule.period:"),
        ("- a\n", "x.yaml:5:1:"),
        ("package:\n  name: a\n", "x.yaml:5:1: the key 'package' is already at x.yaml:1:1"),
    ],
)
def test_mistakes_have_their_place(text, said):
    if not said:
        _load(text)
        return
    with pytest.raises(Error) as caught:
        _load(text)
    assert caught.value.message.startswith(said)


def test_places_after_ranges_are_those_of_the_file():
    text = (
        "data:\n  - name: d\n    items: {x: '1', y: '2'}\n"
        "subpackages:\n  - {range: d, name: '${{range.key}}'}\n  - name: z\n    wrong: 1\n"
    )
    with pytest.raises(Error, match=r"^x.yaml:11:5: unknown field 'wrong'"):
        _load(text)


@pytest.mark.parametrize("text", ["", "- a", "a", "package: 1", "package: {name: a}", "\0"])
def test_what_is_no_configuration(text):
    with pytest.raises(Error, match=r"^x.yaml"):
        load_text(text, "x.yaml")


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(Error, match="cannot be read"):
        load_file(tmp_path / "none.yaml")
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Error, match="is not UTF-8"):
        load_file(path)
    path.write_bytes(b"#" * (5 << 20))
    with pytest.raises(Error, match="is larger than"):
        load_file(path)


def test_variables_resolve_in_whatever_order_they_stand():
    text = (
        "vars:\n  c: ${{vars.b}}-c\n  b: ${{vars.short}}-b\n"
        "var-transforms:\n"
        "  - {from: '${{vars.short}}', match: '\\.', replace: _, to: under}\n"
        "  - {from: '${{package.version}}', match: '^(\\d+)\\.(\\d+)\\..*', "
        "replace: '${1}.$2', to: short}\n"
    )
    variables = _load(text).config.vars
    assert variables == {"c": "1.2-b-c", "b": "1.2-b", "under": "1_2", "short": "1.2"}


def test_package_fields_may_use_variables():
    text = "package:\n  name: a-${{vars.v}}\n  version: 1.2\nvars: {v: x}\n"
    loaded = load_text(text, "x.yaml")
    assert loaded.config.package.name == "a-x"
    assert loaded.variables["package.full-version"] == "1.2-r0"


def test_unknown_references_stay_for_the_build():
    config = _load("pipeline:\n  - runs: ${{targets.destdir}} ${{package.name}} $x ${y}\n").config
    assert config.pipeline[0].runs == "${{targets.destdir}} a $x ${y}"


def test_texts_do_not_grow_without_bounds():
    lines = "".join(f"  v{n}: ${{{{vars.v{n + 1}}}}}${{{{vars.v{n + 1}}}}}\n" for n in range(40))
    with pytest.raises(Error, match="grows beyond"):
        _load(f"vars:\n{lines}  v40: '{'x' * 100}'\n")


def test_vars_of_options_and_files_go_first():
    text = (
        "vars: {x: '1', y: '1', z: '${{vars.x}}${{vars.y}}'}\n"
        "environment: {contents: {packages: [p, q]}}\n"
        "options:\n  o:\n    vars: {x: '2', y: '2'}\n"
        "    environment: {contents: {packages: {add: [r], remove: [q]}}}\n"
    )
    plain = _load(text).config
    assert plain.vars["z"] == "11"
    assert plain.environment.contents.packages == ["p", "q"]
    chosen = _load(text, options=["o"], variables={"y": "3"}).config
    assert chosen.vars["z"] == "23"
    assert chosen.environment.contents.packages == ["p", "r"]
    with pytest.raises(Error, match="no build option 'other'"):
        _load(text, options=["other"])


def test_versions_are_text_and_timeouts_are_spans():
    text = "package:\n  name: a\n  version: 1.10\n  timeout: {}\n"
    for written, seconds in (("3600", 3600), ("1h30m", 5400), ("90s", 90)):
        package = load_text(text.format(written), "x.yaml").config.package
        assert package.timeout == seconds
        assert package.version == "1.10"


def test_the_build_user_is_added_once():
    text = "environment:\n  accounts:\n    users: [{username: build, uid: 7, gid: 7}]\n"
    accounts = _load(text).config.environment.accounts
    assert [(u.username, u.uid) for u in accounts.users] == [("build", 7)]
    assert [g.groupname for g in accounts.groups] == ["build"]


def test_ranges_reach_conditions():
    text = (
        'data: [{name: d, items: {k: "it\'s"}}]\n'
        "subpackages:\n  - range: d\n    name: ${{range.key}}\n"
        "    if: ${{range.value}} == 'it\\'s' && '${{range.key}}' != \"x\"\n"
    )
    assert _load(text).config.subpackages[0].if_ == "'it\\'s' == 'it\\'s' && 'k' != \"x\""
