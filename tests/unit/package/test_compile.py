from __future__ import annotations

import subprocess

import pytest

from plimsoll.arch import Arch
from plimsoll.builder.package.compile import compile_package
from plimsoll.builder.package.library import BUILTIN, Library
from plimsoll.builder.package.load import load_text
from plimsoll.errors import Error

HEAD = "package:\n  name: a\n  version: 1.2.3\n  epoch: 4\n"


@pytest.fixture
def compiled(tmp_path):
    """Compiles text, with pipelines given by name."""

    def run(text, arch=Arch.AMD64, **pipelines):
        for name, body in pipelines.items():
            path = tmp_path / f"{name.replace('__', '/')}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body)
        loaded = load_text(HEAD + text, "x.yaml")
        return compile_package(loaded, Library([tmp_path]), arch, options=())

    return run


def _texts(compiled, name="a"):
    return [script.text for script in compiled.scripts[name]]


def test_variables_of_a_build(compiled):
    names = [
        "package.srcdir", "targets.outdir", "targets.destdir", "targets.contextdir",
        "targets.package.b", "context.name", "host.triplet.gnu", "host.triplet.rust",
        "cross.triplet.gnu.musl", "cross.triplet.rust.glibc", "build.arch", "build.goarch",
        "package.full-version", "options.o.enabled",
    ]  # fmt: skip
    runs = " ".join(f"${{{{ {name} }}}}" for name in names)
    text = f"options: {{o: {{}}}}\npipeline:\n  - runs: {runs}\nsubpackages:\n  - name: b\n"
    text += "    pipeline: [{runs: '${{targets.subpkgdir}} ${{subpkg.name}} ${{context.name}} "
    text += "${{targets.contextdir}} ${{targets.destdir}}'}]\n"
    result = compiled(text, Arch.ARM64)
    out = "/home/build/melange-out"
    assert _texts(result)[0].split() == [
        "/home/build", out, f"{out}/a", f"{out}/a", f"{out}/b", "a",
        "aarch64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "aarch64-unknown-linux-musl",
        "aarch64-unknown-linux-gnu", "aarch64", "arm64", "1.2.3-r4", "false",
    ]  # fmt: skip
    assert _texts(result, "b") == [f"{out}/b b b {out}/b {out}/a"]


def test_conditions_leave_steps_needs_and_subpackages_out(compiled):
    text = (
        "pipeline:\n"
        "  - if: ${{build.arch}} == 'aarch64'\n    uses: p\n"
        "  - if: ${{build.arch}} == 'x86_64'\n    runs: two\n"
        "subpackages:\n  - name: b\n    if: ${{build.arch}} == 'aarch64'\n"
        "    pipeline: [{uses: p}]\n"
    )
    pipeline = "needs: {packages: [tool]}\npipeline: [{runs: one}]\n"
    result = compiled(text, p=pipeline)
    assert _texts(result) == ["two"]
    assert "b" not in result.scripts
    assert [s.name for s in result.config.subpackages] == []
    assert "tool" not in result.guest.contents.packages
    other = compiled(text, Arch.ARM64)
    assert _texts(other) == ["one"]
    assert "b" in other.scripts
    assert other.guest.contents.packages == ["tool"]


def test_inputs_defaults_and_inheritance(compiled):
    outer = (
        "inputs:\n  x: {default: dx}\n  y: {required: true}\n"
        "  dir: {default: '${{package.name}}'}\n"
        "pipeline:\n  - uses: inner\n    with: {x: '${{inputs.x}}+'}\n  - runs: ${{inputs.dir}}\n"
    )
    inner = "inputs: {x: {}}\npipeline: [{runs: '${{inputs.x}} ${{inputs.y}}'}]\n"
    text = "pipeline:\n  - {uses: outer, with: {y: why}}\n"
    result = compiled(text, outer=outer, inner=inner)
    assert _texts(result) == ["dx+ why", "a"]


def test_directories_and_environments_nest(compiled):
    text = (
        "pipeline:\n  - working-directory: sub/${{package.name}}\n"
        "    environment: {A: '1', B: '1'}\n"
        "    pipeline:\n      - runs: one\n        environment: {B: '2'}\n"
        "      - {runs: two, working-directory: /tmp/x}\n  - runs: three\n"
    )
    one, two, three = compiled(text).scripts["a"]
    assert (one.working_directory, dict(one.environment)) == (
        "/home/build/sub/a",
        {"A": "1", "B": "2"},
    )
    assert (two.working_directory, dict(two.environment)) == ("/tmp/x", {"A": "1", "B": "1"})
    assert (three.working_directory, dict(three.environment)) == ("/home/build", {})


@pytest.mark.parametrize(
    ("text", "pipelines", "said"),
    [
        ("pipeline: [{runs: '${{pakage.name}}'}]", {}, "x.yaml:5:12: the variable 'pakage.name'"),
        ("pipeline: [{runs: '${{ }}'}]", {}, "x.yaml:5:12: empty variable name"),
        ("pipeline: [{runs: '${{a'}]", {}, "x.yaml:5:12: unterminated variable reference"),
        ("pipeline: [{uses: fetcch}]", {}, "x.yaml:5:13: there is no pipeline 'fetcch'"),
        ("pipeline: [{uses: ../a}]", {}, "x.yaml:5:13: '../a' cannot be the name"),
        ("pipeline: [{uses: /etc/a}]", {}, "x.yaml:5:13: '/etc/a' cannot be the name"),
        ("pipeline: [{uses: a/../b}]", {}, "x.yaml:5:13: 'a/../b' cannot be the name"),
        ("pipeline: [{if: wrong, runs: a}]", {}, "x.yaml:5:13: the condition 'wrong' is not"),
        (
            "pipeline: [{uses: p, with: {z: a}}]",
            {"p": "inputs: {y: {}}\n"},
            "x.yaml:5:22: the pipeline p has no input 'z'",
        ),
        (
            "pipeline: [{uses: p}]",
            {"p": "inputs: {y: {required: true}}\n"},
            'x.yaml:5:12: required input "y" for pipeline is missing: p',
        ),
        ("pipeline: [{uses: p}]", {"p": "pipelin: []\n"}, "{dir}/p.yaml:1:1: unknown field"),
        (
            "pipeline: [{uses: p}]",
            {"p": "pipeline:\n  - runs: ${{inputs.q}}\n"},
            "{dir}/p.yaml:2:5: the variable 'inputs.q' is not defined\n  used at x.yaml:5:13",
        ),
        (
            "pipeline: [{uses: p}]",
            {"p": "pipeline: [{uses: q}]\n", "q": "pipeline: [{uses: p}]\n"},
            "{dir}/q.yaml:1:13: pipelines use each other in a circle or too deeply: p → q → p",
        ),
        (
            "pipeline: [{uses: p, with: {a: '${{inputs.b}}', b: '${{inputs.a}}'}}]",
            {"p": "inputs: {a: {}, b: {}}\n"},
            "x.yaml:5:22: inputs refer to each other in a circle: a → b → a",
        ),
        (
            "pipeline: [{assertions: {required-steps: 1}, pipeline: [{if: \"'a' == 'b'\"}]}]",
            {},
            "x.yaml:5:12: at least 1 of these steps must run",
        ),
    ],
)
def test_mistakes_have_their_place(compiled, tmp_path, text, pipelines, said):
    with pytest.raises(Error) as caught:
        compiled(text + "\n", **pipelines)
    assert caught.value.message.startswith(said.replace("{dir}", str(tmp_path)))


def test_pipelines_do_not_multiply_without_bounds(compiled):
    pipelines = {f"p{n}": f"pipeline: [{f'{{uses: p{n + 1}}},' * 30}]\n" for n in range(5)}
    pipelines["p5"] = "runs: a\n"
    with pytest.raises(Error, match="more than 20000 steps"):
        compiled("pipeline: [{uses: p0}]\n", **pipelines)


def test_given_pipelines_go_before_built_in_ones(compiled):
    text = "pipeline: [{uses: fetch}]\n"
    result = compiled(text, fetch="pipeline: [{runs: mine}]\n")
    assert _texts(result) == ["mine"]
    assert not result.scripts["a"][0].network


def test_a_link_out_of_a_folder_is_no_pipeline(compiled, tmp_path):
    (tmp_path / "p.yaml").symlink_to(BUILTIN / "strip.yaml")
    with pytest.raises(Error, match="is a link that leads out"):
        compiled("pipeline: [{uses: p}]\n")


def test_there_are_51_built_in_pipelines():
    library = Library()
    assert len(library.names()) == 51
    for name in library.names():
        pipeline = library.find(name)
        assert pipeline.steps.name
        assert pipeline.steps.pipeline
        assert all(about.description for about in pipeline.steps.inputs.values())


def test_scripts_run(compiled, tmp_path):
    text = (
        "pipeline:\n"
        f"  - working-directory: {tmp_path}/new dir's\n"
        "    runs: |\n      pwd\n      false | true\n      cat <<'EOF'\n      text\n      EOF\n"
        "  - runs: |\n      false\n      echo no\n"
    )
    good, bad = compiled(text).scripts["a"]
    done = subprocess.run(
        ["bash", "-c", good.shell().replace("false | true", "true | true")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"{tmp_path}/new dir's\ntext\n"
    assert subprocess.run(["bash", "-c", good.shell()], check=False).returncode == 1
    directory = bad.shell().replace("/home/build", str(tmp_path))
    stopped = subprocess.run(["bash", "-c", directory], capture_output=True, text=True, check=False)
    assert (stopped.returncode, stopped.stdout) == (1, "")


def test_texts_outside_of_steps_are_replaced_too(compiled):
    text = (
        "environment: {contents: {packages: ['gcc-${{build.arch}}']}}\n"
        "subpackages:\n  - name: b\n    description: for ${{build.arch}}\n"
        "    scriptlets: {post-install: 'echo ${{targets.package.a}}'}\n"
        "test: {environment: {contents: {packages: ['${{context.name}}-test']}}}\n"
    )
    result = compiled(text)
    assert result.guest.contents.packages == ["gcc-x86_64"]
    (subpackage,) = result.config.subpackages
    assert subpackage.description == "for x86_64"
    assert subpackage.scriptlets.post_install == "echo /home/build/melange-out/a"
    assert result.tests["a"].environment.contents.packages == ["a-test"]
