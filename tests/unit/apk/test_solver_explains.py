"""What a person reads when there is no solution."""

from __future__ import annotations

import pytest

from plimsoll.apk.index import Index, IndexEntry
from plimsoll.apk.solver import (
    PackageNotFoundError,
    RepositoryIndex,
    UnsatisfiableError,
    resolve,
    resolve_all,
)


def package(name: str, version: str = "1-r0", needs: str = "", provides: str = "") -> IndexEntry:
    return IndexEntry(
        name,
        version,
        checksum=b"x" * 20,
        depends=tuple(needs.split()),
        provides=tuple(provides.split()),
    )


def repository(*entries: IndexEntry, tag: str | None = None) -> RepositoryIndex:
    return RepositoryIndex("https://repo.example/os", Index.from_entries(entries), tag)


LIBRARY = [package("libfoo", f"{version}-r0") for version in ("1.0", "1.9", "2.0", "2.1")]


def failure(world, *repositories) -> UnsatisfiableError:
    with pytest.raises(UnsatisfiableError) as caught:
        resolve(world, repositories, arch="x86_64")
    assert caught.value.hint
    assert not caught.value.retryable
    return caught.value


def test_two_needs_that_exclude_each_other():
    error = failure(
        ["app", "tool", "bystander"],
        repository(
            *LIBRARY,
            package("app", needs="middle"),
            package("middle", needs="libfoo>=2"),
            package("bystander", needs="libbar"),
            package("libbar"),
            *(package("tool", f"1.{n}-r0", "libfoo<2") for n in range(7)),
        ),
    )
    assert error.reason == "UnsatisfiablePackages"
    assert error.message == (
        "no packages fulfil the request for x86_64:\n"
        "- the request names app\n"
        "- app-1-r0 needs middle\n"
        "- middle-1-r0 needs libfoo>=2 (libfoo-2.0-r0 or libfoo-2.1-r0)\n"
        "- the request names tool\n"
        "- versions 1.0-r0, 1.1-r0, 1.2-r0, 1.3-r0 and 3 more of tool need libfoo<2 "
        "(libfoo-1.0-r0 or libfoo-1.9-r0)\n"
        "- libfoo can be installed in one version only"
    )
    assert error.hint == "leave out app or tool"
    assert len(error.reasons) == 6


def test_a_need_that_nothing_provides():
    error = failure(["app"], repository(package("app", needs="so:libbar.so.1")))
    assert error.reasons == (
        "the request names app",
        "app-1-r0 needs so:libbar.so.1, but nothing provides so:libbar.so.1",
    )
    assert "add a repository that provides so:libbar.so.1" in error.hint


def test_a_version_that_does_not_exist():
    error = failure(["libfoo>=3"], repository(*LIBRARY))
    assert error.message.endswith(
        "- the request names libfoo>=3, but there is only "
        "libfoo-1.0-r0, libfoo-1.9-r0, libfoo-2.0-r0 and libfoo-2.1-r0"
    )


def test_a_provided_version_that_does_not_exist():
    error = failure(["pc:x>=3"], repository(package("libx", provides="pc:x=2")))
    assert "there is only libx-1-r0 (which provides pc:x 2)" in error.message


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("pythn3", "did you mean python3?"),
        ("ls", "did you mean cmd:ls, which busybox provides?"),
        ("pyt", "did you mean python3?"),
        ("unheard-of", "check the name, or add the repository that has it"),
    ],
)
def test_a_name_that_nothing_has(name, hint):
    error = failure(
        [name], repository(package("python3"), package("busybox", provides="cmd:ls=1-r0"))
    )
    assert isinstance(error, PackageNotFoundError)
    assert error.reason == "PackageNotFound"
    assert error.message == f"there is no package {name} in https://repo.example/os for x86_64"
    assert error.hint == hint


def test_no_packages_at_all():
    assert "the repositories are empty" in failure(["a"], repository()).hint
    assert "no repository" in failure(["a"]).message


def test_two_providers_of_one_name():
    error = failure(
        ["a", "b"], repository(package("a", provides="cmd:x=1"), package("b", provides="cmd:x=2"))
    )
    assert error.reasons[-1] == "a and b both provide cmd:x, which only one package may"


def test_refusals():
    one = failure(["a", "b"], repository(package("a", needs="!b"), package("b")))
    assert one.reasons[-1] == "a-1-r0 refuses b (!b)"
    two = failure(["a", "!b"], repository(package("a", needs="b"), package("b")))
    assert two.reasons[-1] == "the request refuses b-1-r0 (!b)"
    assert two.hint == "leave out !b or a"


def test_tags():
    edge = repository(package("b"), package("c"), tag="edge")
    error = failure(["b"], edge)
    assert error.reasons[0].endswith(
        "only b-1-r0 of the repository tagged @edge fulfils it: ask for b@edge"
    )
    error = failure(["a", "b@edge"], repository(package("a", needs="c")), edge)
    assert error.reasons[-1] == (
        "c-1-r0 is of the repository tagged @edge, which serves only what is asked for with @edge"
    )


def test_architectures_that_differ():
    with pytest.raises(UnsatisfiableError, match="a-2-r0: arm64 does not have it"):
        resolve_all(
            ["a>1"],
            {
                "amd64": [repository(package("a", "2-r0"))],
                "arm64": [repository(package("a", "3-r0"))],
            },
        )
    with pytest.raises(UnsatisfiableError) as caught:
        resolve_all(
            ["a"],
            {
                "amd64": [repository(package("a", "1", "c"), package("a", "2"))],
                "arm64": [repository(package("a", "1"), package("a", "2", "c"))],
            },
        )
    assert caught.value.reasons == (
        "on amd64 a-1 needs c, but nothing provides c",
        "on arm64 a-2 needs c, but nothing provides c",
        "what fulfils a must be the same version on every architecture",
    )


def test_a_record_that_cannot_be_read_excludes_only_its_package():
    broken = package("a", "2", "b=>1")
    assert resolve(["a"], [repository(package("a", "1"), broken)])["a"].version == "1"
    error = failure(["a"], repository(broken))
    assert "unknown operator" in error.message


def test_a_long_chain_is_cut_in_the_message_only():
    chain = [package(f"p{n}", needs=f"p{n + 1}") for n in range(40)]
    error = failure(["p0"], repository(*chain))
    assert len(error.reasons) == 41
    lines = error.message.splitlines()
    assert len(lines) == 18
    assert lines[9] == "- (25 more such steps)"
    assert lines[-1] == "- p39-1-r0 needs p40, but nothing provides p40"
