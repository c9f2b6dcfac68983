"""Package configurations of real projects, and the facts that upstream's tests state."""

from __future__ import annotations

import json
import re

import pytest

from plimsoll.builder.package.load import load_file, load_text
from plimsoll.builder.package.show import to_plain
from plimsoll.errors import Error
from shared_data import DATA, shared


def _cases(path, key):
    file = DATA / path
    return json.loads(file.read_text())[key] if file.exists() else []


def _at(value, path):
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        value = value[int(index)] if index else value[name]
    return value


def _contains(actual, expected):
    if isinstance(expected, dict):
        return all(_contains(actual[key], value) for key, value in expected.items())
    if isinstance(expected, list):
        return len(actual) == len(expected) and all(map(_contains, actual, expected))
    return actual == expected


@pytest.mark.parametrize(
    "case", _cases("melange/configuration_load/expected.json", "cases"), ids=lambda c: c["file"]
)
def test_configuration_load(case):
    path = shared("melange") / case["file"]
    if case.get("error"):
        with pytest.raises(Error) as caught:
            load_file(path)
        assert re.match(rf"{re.escape(str(path))}:\d+:\d+: ", caught.value.message)
        return
    config = load_file(path).config
    expected = dict(case["expect"])
    if "test_environment_packages" in expected:
        packages = expected.pop("test_environment_packages")
        assert config.test.environment.contents.packages == packages
        expected["test"] = {"pipeline": expected.pop("test_pipeline")}
    plain = config.model_dump(mode="json", by_alias=True)
    assert _contains(plain, expected)


def test_defaults():
    case = json.loads((shared("melange") / "configuration_load/expected.json").read_text())
    case = case["defaults"]
    plain = load_text(case["input"], "x.yaml").config.model_dump(mode="json", by_alias=True)
    assert _contains(plain, case["expect"])
    assert list(plain["environment"]["environment"]) == list(
        case["expect"]["environment"]["environment"]
    )


@pytest.mark.parametrize(
    "case", _cases("melange/configuration_load/inline.json", "cases"), ids=lambda c: c["name"]
)
def test_inline(case):
    if "error_contains" in case:
        with pytest.raises(Error) as caught:
            load_text(case["config"], "x.yaml")
        line = case["error_contains"].removeprefix("line ")
        assert caught.value.message.startswith(f"x.yaml:{line}:")
        assert "'contents'" in str(caught.value)
        return
    plain = to_plain(load_text(case["config"], "x.yaml").config)
    assert {path: _at(plain, path) for path in case["expect"]} == case["expect"]


@pytest.mark.parametrize(
    "expected", _cases("wolfi/expected.json", "packages"), ids=lambda p: p["file"]
)
def test_wolfi(expected):
    config = load_file(shared("wolfi") / expected["file"]).config
    assert config.package.name == expected["name"]
    assert config.package.version == expected["version"]
    assert config.package.epoch == expected["epoch"]
    assert config.package.full_version == expected["full_version"]
    assert config.vars == expected.get("vars", {})
    _check_dependencies(config.package, expected)
    subpackages = expected.get("subpackages", [])
    assert [s.name for s in config.subpackages] == [s["name"] for s in subpackages]
    for found, wanted in zip(config.subpackages, subpackages, strict=True):
        _check_dependencies(found, wanted)
    assert _uses(config.pipeline, *(s.pipeline for s in config.subpackages)) == expected.get(
        "pipelines_used", []
    )
    tests = [t.pipeline for t in (config.test, *(s.test for s in config.subpackages)) if t]
    assert _uses(*tests) == expected.get("test_pipelines_used", [])
    assert config.update.enabled == expected["update"]["enabled"]
    backends = {
        "release-monitor": config.update.release_monitor is not None,
        "github": config.update.github is not None,
        "git": config.update.git is not None,
        "oci": config.update.oci is not None,
        "schedule": config.update.schedule is not None,
        "manual": "manual" in config.update.model_fields_set,
    }
    assert sorted(n for n, there in backends.items() if there) == sorted(
        expected["update"]["backend"]
    )


def _check_dependencies(part, expected):
    found = part.dependencies
    assert sorted(found.runtime) == sorted(expected.get("runtime", []))
    assert sorted(found.provides) == sorted(expected.get("provides", []))
    if "provider-priority" in expected:
        assert found.provider_priority == int(expected["provider-priority"])


def _uses(*pipelines):
    def walk(steps):
        for step in steps:
            if step.uses:
                yield step.uses
            yield from walk(step.pipeline)

    return sorted({name for steps in pipelines for name in walk(steps)})
