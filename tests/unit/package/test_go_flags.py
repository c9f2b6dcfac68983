"""Switches and durations as programs written in Go take them."""

import click
import pytest
from click.testing import CliRunner

from plimsoll.builder.cli.goflags import GoFlags, Seconds, refused


@click.command(cls=GoFlags)
@click.argument("words", nargs=-1)
@click.option("--index/--no-index", default=True)
@click.option("--debug", is_flag=True)
@click.option("--name")
@click.option("--timeout", type=Seconds(), default=0)
@refused("--memory", "there is no limit")
def command(**given):
    click.echo(repr(given))


def run(*words):
    return CliRunner().invoke(command, words)


@pytest.mark.parametrize(
    ("words", "index", "debug"),
    [
        (["--index=false", "--debug=true"], False, True),
        (["--index=1", "--debug=F"], True, False),
        (["--no-index", "--debug"], False, True),
        ([], True, False),
    ],
)
def test_switches(words, index, debug):
    said = run(*words).output
    assert f"'index': {index}, 'debug': {debug}" in said or (
        f"'index': {index}" in said and f"'debug': {debug}" in said
    )


def test_what_is_no_switch_stays():
    said = run("--name=true", "--", "--debug=true").output
    assert "'name': 'true'" in said
    assert "'--debug=true'" in said
    assert run("--debug=maybe").exit_code == 2


@pytest.mark.parametrize(("text", "value"), [("90", 90), ("1h30m", 5400), ("45s", 45)])
def test_durations(text, value):
    assert f"'timeout': {value}" in run("--timeout", text).output


def test_what_is_refused():
    assert "is no duration" in run("--timeout", "soon").output
    result = run("--memory", "4Gi")
    assert result.exit_code == 2
    assert "--memory cannot be used here: there is no limit" in result.output
    assert run().exit_code == 0
