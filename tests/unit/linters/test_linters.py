"""Linters on small trees: what they find, what they leave alone, and what may be chosen."""

import os

import pytest

from elf_files import Part, elf
from plimsoll.arch import Arch
from plimsoll.builder.linters.lint import LINTERS, Checks, UnknownLinterError, lint
from plimsoll.builder.linters.model import LintFacts, Severity

BIG = b"x" * 2000


def paths(tree, linter, name="foo", **facts):
    found = lint(tree, LintFacts(name, **facts), Checks.choose([linter], []))
    assert all(f.linter == linter and f.severity is Severity.ERROR and f.message for f in found)
    return [f.path for f in found]


@pytest.mark.parametrize(
    ("linter", "bad", "good", "exempt"),
    [
        ("dev", ["dev/null"], ["usr/dev/x"], ""),
        ("opt", ["opt/x/y"], ["usr/opt"], "foo-compat"),
        ("srv", ["srv/x"], ["srvx"], "foo-compat"),
        ("usrlocal", ["usr/local/bin/x"], ["usr/localx"], "foo-compat"),
        ("varempty", ["var/empty/x"], ["var/emptyx"], ""),
        ("sbom", ["var/lib/db/sbom/b-1.spdx.json"], ["var/lib/db/sbom/foo-1-r0.spdx.json"], ""),
        ("object", ["usr/lib/x.o"], ["usr/lib/x.so"], ""),
        ("dll", ["usr/X.DLL"], ["usr/dll"], ""),
        ("dylib", ["usr/lib/a.dylib", "usr/lib/a.dylib.1"], ["usr/dylib"], ""),
        ("staticarchive", ["usr/lib/a.a"], ["usr/lib/a.so"], "foo-dev"),
        ("libtool/la-files", ["usr/lib/a.la"], ["usr/lib/la"], ""),
        ("infodir", ["usr/share/info/dir"], ["usr/share/info/x.info"], ""),
        ("maninfo", ["usr/share/man/de/man1/a.1.zst", "usr/share/man/man3/b.3pm"],
         ["usr/share/man/index"], "foo-doc"),
        ("documentation", ["usr/README", "usr/x.md", "TODO"], ["usr/readme.c"], "foo-doc"),
        ("cudaruntimelib", ["usr/lib/libcuda.so.1", "usr/lib64/libnvidia-ml.so"],
         ["usr/lib/libcudart.so"], ""),
        ("tempdir", ["run/x", "tmp/a", "var/run/y", "var/tmp/b"], ["usr/tmp/x"], ""),
        ("usrmerge", ["bin/a", "lib64/b", "usr/sbin/c"], ["usr/bin/a"], ""),
        ("nonlinux", ["usr/Darwin/x", "usr/x-win32.txt"], ["usr/cosx", "usr/rewindows"], ""),
        ("unsupportedarch", ["usr/lib/s390x/a", "usr/x-i686.bin", "usr/x_ppc64le"],
         ["usr/amd64-i686.txt", "usr/mipsy", "usr/systems"], ""),
    ],
)  # fmt: skip
def test_paths(make_tree, linter, bad, good, exempt):
    tree = make_tree(dict.fromkeys([*bad, *good], b"x"), modes=dict.fromkeys([*bad, *good], 0o644))
    found = [
        p for p in paths(tree, linter, version="1-r0") if p not in {"bin", "lib64", "usr/sbin"}
    ]
    assert sorted(found) == sorted(bad)
    if exempt:
        assert paths(tree, linter, exempt) == []


def test_usrmerge_directories_and_links(make_tree):
    assert paths(make_tree({"bin": None, "usr/bin": None}), "usrmerge") == ["bin"]
    assert paths(make_tree({"bin": "usr/bin", "usr/sbin": "bin"}), "usrmerge") == []


def test_temporary_directories_themselves(make_tree):
    tree = make_tree({"tmp": None, "var/tmp/x": None, "run/foo": None})
    assert paths(tree, "tempdir") == ["run/foo"]


def test_modes(make_tree):
    tree = make_tree(
        {"a": b"", "b": b"", "c": b"", "d": b"", "l": "a"},
        modes={"a": 0o4755, "b": 0o2755, "c": 0o646, "d": 0o777},
    )
    assert paths(tree, "setuidgid") == ["a", "b"]
    assert paths(tree, "worldwrite") == ["c", "d"]
    assert paths(tree, "worldwrite", "foo-compat") == []
    sticky = make_tree({"t": None})
    (sticky.root / "t").chmod(0o1777)
    assert paths(type(sticky)(sticky.root), "setuidgid") == ["t"]


def test_architecture_of_the_package_is_supported(make_tree):
    tree = make_tree({"usr/riscv64/x": b"", "usr/bin/y": elf(machine=243), "usr/i386/z": b""})
    assert paths(tree, "unsupportedarch") == ["usr/i386/z", "usr/riscv64/x"]
    assert paths(tree, "unsupportedarch", arch=Arch.RISCV64) == ["usr/i386/z"]
    assert paths(tree, "unsupportedarch", arch=Arch.X86) == ["usr/riscv64/x"]
    assert paths(tree, "binaryarch") == ["usr/bin/y"]
    assert paths(tree, "binaryarch", arch=Arch.RISCV64) == []


def test_binaryarch_names_odd_machines(make_tree):
    tree = make_tree({"usr/bin/a": elf(machine=9999), "usr/bin/b": elf(machine=8), "c": elf()})
    messages = [f.message for f in lint(tree, LintFacts("foo"), Checks.choose(["binaryarch"], []))]
    assert messages == ["is compiled for machine 9999", "is compiled for mips"]


@pytest.mark.parametrize(
    ("section", "stripped"),
    [
        (Part(".debug_info", b"x"), False),
        (Part(".zdebug_line", b"x"), False),
        (Part(".debug", b"x"), False),
        (Part(".stabstr", b"x"), False),
        (Part(".gnu.debuglto_.debug_info", b"x"), False),
        (Part(".debug_gdb_scripts", b"x", flags=2), True),
        (Part(".symtab", b"x", kind=2), True),
        (Part(".gnu_debuglink", b"x"), True),
    ],
)
def test_strip(make_tree, section, stripped):
    content = elf(section)
    tree = make_tree({"usr/bin/a": content, "usr/lib/debug/a.debug": content, "data": content},
                     modes={"data": 0o644})  # fmt: skip
    assert paths(tree, "strip") == ([] if stripped else ["usr/bin/a"])
    assert paths(tree, "strip", "foo-dbg") == []


def test_strip_passes_over_object_files_and_broken_ones(make_tree):
    tree = make_tree({"a": elf(Part(".debug_info", b"x"), kind=1), "b": elf()[:80], "c": b""})
    assert paths(tree, "strip") == []


def test_duplicates(make_tree):
    tree = make_tree(
        {
            "a/x": BIG, "b/x": BIG, "c/y": BIG, "d/x": b"y" * 2000, "e/x": b"s", "f/x": b"s",
            "a/COPYING": BIG, "b/COPYING": BIG,
        }
    )  # fmt: skip
    assert paths(tree, "duplicate") == ["b/x"]


def test_hard_links_are_no_duplicates(make_tree, tmp_path):
    tree = make_tree({"a/x": BIG, "b": None})
    os.link(tree.root / "a/x", tree.root / "b/x")
    assert paths(type(tree)(tree.root), "duplicate") == []


@pytest.mark.parametrize(
    ("modules", "linter", "expected"),
    [
        (["a", "b"], "python/multiple", 1),
        (["a", "a.py", "a.cpython-312.so", "_a", "a-1.dist-info", "x.pth"], "python/multiple", 0),
        (["a", "tests", "docs"], "python/multiple", 0),
        (["a", "tests"], "python/test", 1),
        (["a", "test.py"], "python/test", 0),
        (["docs"], "python/docs", 1),
        (["doc"], "python/docs", 1),
    ],
)
def test_python(make_tree, modules, linter, expected):
    tree = make_tree({f"usr/lib/python3.12/site-packages/{m}/x": b"" for m in modules})
    assert len(paths(tree, linter)) == expected


def test_python_of_several_versions(make_tree):
    tree = make_tree({f"usr/lib/python3.{n}/site-packages/a/x": b"" for n in (11, 12)})
    assert paths(tree, "python/multiple") == [""]


def test_tests_that_should_be_used(make_tree):
    tree = make_tree({"usr/lib/liba.so.1": b"", "usr/lib/pkgconfig/a.pc": b""})
    ldd, pkgconf = "usr/lib/liba.so.1", "usr/lib/pkgconfig/a.pc"
    assert paths(tree, "lddcheck") == paths(tree, "lddcheck", test_uses=frozenset()) == [ldd]
    assert paths(tree, "pkgconf", test_uses=frozenset({"test/tw/ldd-check"})) == [pkgconf]
    assert paths(tree, "lddcheck", test_uses=frozenset({"test/tw/ldd-check"})) == []
    assert paths(tree, "pkgconf", test_uses=frozenset({"test/pkgconf"})) == []


def test_empty(make_tree):
    assert paths(make_tree({}), "empty") == [""]
    assert paths(make_tree({}), "empty", no_provides=True) == []
    assert paths(make_tree({"a": None}), "empty") == []


def test_disabled_linters_warn(make_tree):
    tree = make_tree({"dev/x": b"", "opt/y": b""})
    default = {f.linter: f.severity for f in lint(tree, LintFacts("foo"))}
    assert default == {"dev": Severity.ERROR, "opt": Severity.WARNING}
    checks = Checks.choose(disabled=["dev", "empty"])
    downgraded = {f.linter: f.severity for f in lint(tree, LintFacts("foo"), checks)}
    assert downgraded == {"dev": Severity.WARNING, "opt": Severity.WARNING}


def test_disabling_is_about_one_package_only(make_tree):
    main, sub = make_tree({"dev/x": b""}), make_tree({"dev/y": b""})
    first = lint(main, LintFacts("foo"), Checks.choose(disabled=["dev"]))
    second = lint(sub, LintFacts("foo-sub"), Checks.choose())
    assert [f.severity for f in (*first, *second)] == [Severity.WARNING, Severity.ERROR]


def test_names_of_no_linter(make_tree):
    with pytest.raises(UnknownLinterError, match="no linter 'tmpdir'"):
        Checks.choose(["tmpdir"])
    (finding,) = lint(make_tree({}), LintFacts("foo"), Checks.choose(disabled=["old"]))
    assert finding.linter == "checks"
    assert "'old'" in finding.message


def test_each_linter_says_what_to_do():
    assert len(LINTERS) == 30
    assert list(LINTERS) == sorted(LINTERS)
    assert all(linter.hint.endswith(".") for linter in LINTERS.values())
