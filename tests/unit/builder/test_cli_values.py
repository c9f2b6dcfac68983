"""Options mean what they mean in programs written in Go."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from plimsoll.builder.cli.lock import own_template
from plimsoll.builder.cli.values import Size, separated
from plimsoll.cli.main import cli


@click.command()
@click.option("--name", "names", multiple=True, callback=separated)
@click.option("--size", type=Size(), default="300MiB")
def command(names, size):
    click.echo(f"{list(names)} {size}")


def said(*arguments):
    return CliRunner().invoke(command, arguments).output.strip()


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ((), []),
        (("--name", "a,b", "--name", "c"), ["a", "b", "c"]),
        (("--name", 'a,"b,c"'), ["a", "b,c"]),
        (("--name", "a,"), ["a"]),
        (("--name", "@tag https://x.example/a b"), ["@tag https://x.example/a b"]),
    ],
)
def test_lists(arguments, names):
    assert said(*arguments) == f"{names} {300 << 20}"


def test_an_open_quote_is_an_error():
    assert "quote what has a comma" in said("--name", '"a,b')


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("8GiB", 8 << 30), ("2MB", 2_000_000), ("0", 300 << 20), ("-1", 1 << 60)],
)
def test_sizes(text, size):
    assert said("--size", text) == f"[] {size}"


@pytest.mark.parametrize("text", ["-2", "1.5GiB", "x", ""])
def test_what_is_no_size(text):
    assert "is no size" in said("--size", text)


@pytest.mark.parametrize(
    ("template", "own"),
    [
        ("{{.Name}}-{{ .Version }}", "{name}-{version}"),
        ("{{- .Source -}}", "{url}"),
        ('{{"n":"{name}"}}', '{{"n":"{name}"}}'),
    ],
)
def test_templates(template, own):
    assert own_template(template) == own


@pytest.mark.parametrize("template", ["{{.Name | x}}", "{{.Nope}}", "{{range .}}", "{{name}}"])
def test_templates_that_mean_more(template):
    with pytest.raises(click.BadParameter, match="nothing is known of"):
        own_template(template)


def test_near_commands_are_named():
    result = CliRunner().invoke(cli, ["buidl"])
    assert result.exit_code == 2
    assert "Did you mean 'build'" in result.output
    assert "Did you mean" not in CliRunner().invoke(cli, ["xyzzy"]).output


LISTS = {"--arch", "--keyring-append -k", "--repository-append -r"}
RESOLVE = LISTS | {"--build-repository-append -b", "--cache-dir", "--offline"}
LIMITS = {
    "--max-apkindex-decompressed-size", "--max-apk-control-size", "--max-apk-data-size",
    "--max-http-response-size",
}  # fmt: skip
BUILD = RESOLVE | LIMITS | {
    "--package-append -p", "--annotations", "--build-date", "--sbom", "--sbom-path",
    "--sbom-formats", "--vcs", "--lockfile", "--include-paths", "--ignore-signatures",
}  # fmt: skip
TREE = {"--build-date", "--build-arch", "--sbom-path", "--package-append -p"} | LISTS - {"--arch"}
#: What scripts that were written for apko say.
FLAGS = {
    "build": BUILD,
    "publish": BUILD | {"--local", "--image-refs"},
    "lock": RESOLVE | LIMITS | {"--output", "--include-paths", "--ignore-signatures"},
    "show-config": RESOLVE - {"--arch"},
    "show-packages": RESOLVE | {"--format"},
    "dot": RESOLVE | {"--web", "--spanning-tree -S"},
    "build-minirootfs": TREE,
    "build-cpio": TREE | {"--build-repository-append -b"},
    "clean": {"--cache-dir", "--dry-run"},
    "login": {"--username -u", "--password -p", "--password-stdin"},
    "version": {"--json"},
    "install-keys": set(),
}


@pytest.mark.parametrize("name", FLAGS)
def test_flags_of_the_reference(name):
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    known = [{*option.opts, *option.secondary_opts} for option in command.params]
    for flag in FLAGS[name] | {"--workdir -C", "--log-level"}:
        assert any(set(flag.split()) <= names for names in known), flag


def test_defaults_of_the_reference():
    command = cli.get_command(click.Context(cli), "build")
    assert command is not None
    context = click.Context(command)
    values = {option.name: option.get_default(context) for option in command.params}
    assert values["vcs"] is values["sbom"] is True
    assert values["offline"] is values["ignore_signatures"] is False
    assert values["sbom_formats"] == ("spdx",)
    assert [values[name.removeprefix("--").replace("-", "_")] for name in sorted(LIMITS)] == [
        "10MiB", "16GiB", "300MiB", "8GiB",
    ]  # fmt: skip
