"""The documentation says what the code does: pages, names, examples, tests it points to."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
from pathlib import Path
from typing import get_args

import click
import pytest
import yaml

from docs_reference import PAGES
from docs_reference.commands import context
from docs_reference.errors import ADVICE, by_reason
from docs_reference.settings import COMMON
from plimsoll.api.image import ImageConfiguration, Layering
from plimsoll.api.imagebuild import ImageBuild, ImageBuildSpec
from plimsoll.api.kinds import DEFINITIONS
from plimsoll.api.packagerepo import PackageRepo, PackageRepoSpec
from plimsoll.api.policy import ClusterImagePolicySpec
from plimsoll.api.policycheck import read_spec
from plimsoll.builder.config import parse_config
from plimsoll.cli.main import cli

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PORTIONS = ["builder", "operator", "webhook", "core"]
WRITTEN = [
    ROOT / "README.md",
    *(path for path in sorted(DOCS.glob("*.md")) if path.name != "getting-started.md"),
]


@pytest.mark.parametrize("name", PAGES)
def test_committed_page_is_the_generated_one(name):
    assert (DOCS / "reference" / name).read_text() == PAGES[name](), "run `make docs`"


def test_advice_is_about_reasons_that_exist():
    assert set(yaml.safe_load(ADVICE.read_text())) <= set(by_reason())


def commands_of(modules):
    """Every command that a module of a command line defines."""
    for name in modules:
        for value in vars(importlib.import_module(name)).values():
            if isinstance(value, click.Command):
                yield value


def reachable(command, ctx):
    """A command and all below it, each with its full name."""
    yield ctx.command_path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            yield from reachable(below, context(below, name, ctx))


def test_the_page_of_commands_misses_none():
    """Neither a command that somebody wrote and entered in no table, nor an option."""
    known = dict(reachable(cli, click.Context(cli, info_name="plimsoll")))
    modules = [
        ".".join(path.relative_to(ROOT / portion).with_suffix("").parts)
        for portion in PORTIONS
        for path in (ROOT / portion).rglob("*.py")
        if "cli" in path.with_suffix("").as_posix().rpartition("plimsoll/")[2]
        and path.name != "__init__.py"
    ]
    assert len(modules) > 40
    assert {id(c) for c in commands_of(modules)} <= {id(c) for c in known.values()}
    page = (DOCS / "reference/commands.md").read_text()
    sections = dict(re.findall(r"^#{2,} (plimsoll .*)\n((?:(?!^#{2,} ).*\n)*)", page, re.MULTILINE))
    assert set(sections) == set(known) - {"plimsoll"}
    for name, section in sections.items():
        for option in known[name].params:
            if isinstance(option, click.Option) and not option.hidden:
                for flag in (*option.opts, *option.secondary_opts):
                    assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", section), (
                        name,
                        flag,
                    )


# --- environment variables -----------------------------------------------------------------------


def read_by(tree):
    """Names of variables that code asks an environment for by a literal."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            holder, key = node.func.value, node.args[:1]
            if node.func.attr not in {"get", "getenv"}:
                continue
        elif isinstance(node, ast.Subscript):
            holder, key = node.value, [node.slice]
        else:
            continue
        name = getattr(holder, "attr", getattr(holder, "id", ""))
        if name in {"env", "environ", "os"} and key and isinstance(key[0], ast.Constant):
            yield key[0].value


def test_every_variable_that_is_read_is_documented():
    documented = {name for names in COMMON for name in names.split(", ")}
    given_by_kubernetes = {"HOSTNAME", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"}
    of_others = {"PATH", "REQUEST_METHOD"}  # a shell's, CGI's
    text = (DOCS / "reference/settings.md").read_text()
    missing = set()
    for portion in PORTIONS:
        for path in (ROOT / portion).rglob("*.py"):
            missing |= set(read_by(ast.parse(path.read_text())))
    missing -= documented | given_by_kubernetes | of_others
    assert {name for name in missing if f"`{name}`" not in text} == set()


# --- reasons of the operator ---------------------------------------------------------------------

#: CamelCase words of these modules that are no reasons: kinds, fields and values of Kubernetes.
NO_REASONS = {
    "Complete",
    "ConfigMap",
    "DisruptionTarget",
    "ImageBuild",
    "Job",
    "Normal",
    "PackageRepo",
    "Pending",
    "PodScheduled",
    "Ready",
    "True",
    "False",
    "Unknown",
    "Warning",
}


@pytest.mark.parametrize("module", ["conditions", "progress", "sources", "follow", "observe"])
def test_every_reason_of_the_operator_is_documented(module):
    text = (DOCS / "operator.md").read_text() + (DOCS / "reference/errors.md").read_text()
    tree = ast.parse((ROOT / f"operator/plimsoll/operator/{module}.py").read_text())
    words = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.fullmatch(r"([A-Z][a-z]+)+|OOMKilled", node.value)
    }
    given_another_name = {"OOMKilled"}
    missing = {word for word in words - NO_REASONS - given_another_name if f"`{word}`" not in text}
    assert missing == set()


# --- what is not there ----------------------------------------------------------------------------


def options_of(name):
    command = cli.get_command(click.Context(cli), name)
    return {opt for param in command.params for opt in param.opts}


def required():
    """What ``require`` of a policy may ask for."""
    model, _ = get_args(ClusterImagePolicySpec.model_fields["require"].annotation)
    return model.model_fields


#: Words of ``limits.md`` → whether what they call missing is there.
MISSING = {
    "`variants`": lambda: "variants" in ImageBuildSpec.model_fields,
    "`tests`": lambda: "tests" in ImageBuildSpec.model_fields,
    "`scan`": lambda: "scan" in ImageBuildSpec.model_fields,
    "`verifyReproducible`": lambda: "verify_reproducible" in ImageBuildSpec.model_fields,
    "`concurrencyPolicy`": lambda: "concurrency_policy" in ImageBuildSpec.model_fields,
    "`PackageRepo.spec.packages`": lambda: "packages" in PackageRepoSpec.model_fields,
    "vulnerabilities": lambda: "vulnerabilities" in required(),
    "freshness": lambda: "freshness" in required(),
    "zstd": lambda: "compression" in {**Layering.model_fields, **ImageConfiguration.model_fields},
    "CycloneDX": lambda: "--sbom-formats" in options_of("build"),
    "Keyless signing": lambda: "--keyless" in options_of("sign"),
    "ImagePolicy (namespaced)": lambda: "ImagePolicy" in {one.kind for one in DEFINITIONS},
}


@pytest.mark.parametrize("word", MISSING)
def test_what_limits_call_missing_is_missing(word):
    text = (DOCS / "limits.md").read_text()
    assert not (word in text and MISSING[word]()), f"it is there now: take {word} out of limits.md"


# --- tests that pages point to -------------------------------------------------------------------


def test_tests_of_the_threat_model_exist():
    text = (DOCS / "threat-model.md").read_text()
    ids = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(ids) > 80
    known: dict[str, set[str]] = {}
    for file in {file for file, _ in ids}:
        tree = ast.parse((ROOT / file).read_text())
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        known[file] = {n.name for n in ast.walk(tree) if isinstance(n, functions)}
    assert [f"{file}::{name}" for file, name in ids if name not in known[file]] == []


#: What went wrong in other projects of this kind.
ADVISORIES = [
    "CVE-2022-23649",
    "CVE-2022-35929",
    "CVE-2022-35930",
    "CVE-2022-36056",
    "CVE-2022-47633",
    "CVE-2023-33957",
    "CVE-2023-33959",
    "CVE-2023-34091",
    "CVE-2023-46737",
    "CVE-2023-47630",
    "CVE-2024-29902",
    "CVE-2024-48921",
    "CVE-2025-27403",
    "CVE-2025-29778",
    "CVE-2025-46342",
    "CVE-2026-22039",
    "CVE-2026-22703",
    "CVE-2026-24122",
    "CVE-2026-39395",
    "CVE-2026-39984",
    "CVE-2026-41323",
    "CVE-2026-4789",
    "GHSA-cq38-jh5f-37mq",
    "GHSA-fx35-mq7g-6g98",
    "GHSA-wqqc-jjcq-vfxm",
]


def test_every_advisory_of_others_has_a_row():
    text = (DOCS / "threat-model.md").read_text().partition("## Advisories of others")[2]
    table = text.partition("\n## ")[0]
    assert [one for one in ADVISORIES if one not in table] == []


def test_every_threat_has_a_defence_and_a_test():
    text = (DOCS / "threat-model.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    bodies = [row for row in rows if not row.startswith(("| threat |", "| advisory |", "|---"))]
    assert len(bodies) > 50
    for row in bodies:
        threat, defence, tests = (cell.strip() for cell in row.strip("|").split(" | "))
        assert threat, row
        assert defence, row
        assert "::" in tests, row


# --- what pages show -----------------------------------------------------------------------------


def blocks(path):
    """Fenced and indented code, and code within sentences, of a page."""
    text = path.read_text()
    yield from re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    yield from re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    yield from re.findall(r"`([^`\n]+)`", text)


def invocations(path):
    """Every use of ``plimsoll`` as words."""
    for block in blocks(path):
        joined = block.replace("\\\n", " ")
        for line in re.findall(r"(?:^|[|$&] *)(plimsoll [a-z].*)", joined, re.MULTILINE):
            command = re.split(r" [|&>#] | \|$|;", line)[0].replace("…", "")
            yield shlex.split(command)


@pytest.mark.parametrize(
    "path", [*WRITTEN, DOCS / "reference/commands.md"], ids=lambda path: path.name
)
def test_commands_and_options_that_pages_show_exist(path):
    for words in invocations(path):
        command, ctx = cli, click.Context(cli, info_name="plimsoll")
        rest = words[1:]
        while isinstance(command, click.Group) and rest:
            below = command.get_command(ctx, rest.pop(0))
            assert below is not None, words
            ctx, command = context(below, below.name or "", ctx), below
        known = {name for param in command.get_params(ctx) for name in param.opts}
        known |= {name for param in command.get_params(ctx) for name in param.secondary_opts}
        used = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert used <= known, words


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_objects_that_pages_show_are_valid(path):
    for text in re.findall(r"^```yaml\n(.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE):
        for body in yaml.safe_load_all(text):
            kind = body.get("kind") if isinstance(body, dict) else None
            if kind == "ImageBuild":
                ImageBuild.model_validate(body)
            elif kind == "PackageRepo":
                PackageRepo.model_validate(body)
            elif kind == "ClusterImagePolicy":
                read_spec(body["spec"])
            elif isinstance(body, dict) and "contents" in body:
                parse_config(text, str(path))
