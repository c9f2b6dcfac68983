"""Functions of an APKBUILD as steps: pipelines where they are known, shell elsewhere."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from plimsoll.builder.convert.shell import Node, Script, expansion, rewritten, source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plimsoll.builder.convert.draft import Draft

Step = dict[str, Any]
#: Variables of abuild → ours.
_OURS = {
    "pkgdir": "${{targets.destdir}}",
    "subpkgdir": "${{targets.contextdir}}",
    "srcdir": "${{package.srcdir}}",
    "builddir": "${{package.srcdir}}",
    "startdir": "${{package.srcdir}}",
    "pkgname": "${{package.name}}",
    "pkgver": "${{package.version}}",
    "CARCH": "${{build.arch}}",
    "CBUILD": "${{host.triplet.gnu}}",
    "CHOST": "${{host.triplet.gnu}}",
    "JOBS": "$(nproc)",
}
_LEFT = re.compile(rf"'[^']*'|\\.|\$(?:\{{({'|'.join(_OURS)})\}}|({'|'.join(_OURS)})\b)")
#: What works in functions only.
_IN_FUNCTION = re.compile(r"^[ \t]*local\b|\breturn\b", re.MULTILINE)
#: Options that our pipelines give themselves.
_CONFIGURE = re.compile(
    r"--(build|host|prefix|sysconfdir|mandir|infodir|localstatedir|libdir)(=.*)?", re.DOTALL
)
_CMAKE = re.compile(r"-G|Ninja|-DCMAKE_(BUILD_TYPE|INSTALL_PREFIX|INSTALL_LIBDIR)=.*", re.DOTALL)
_MESON = re.compile(r"--(prefix|libdir|sysconfdir|localstatedir|buildtype|wrap-mode)(=.*)?")
#: Commands whose effect later commands of the same function may count on.
_STATEFUL = frozenset({"cd", "export", "local", "set", "unset", "eval", "."})
_SPLITS = {
    "dbg": "debug", "dev": "dev", "doc": "alldocs", "lang": "locales", "libs": "lib",
    "static": "static",
}  # fmt: skip
_FOLDERS = {
    "bash-completion": "usr/share/bash-completion",
    "fish-completion": "usr/share/fish",
    "zsh-completion": "usr/share/zsh",
    "openrc": "etc/init.d etc/conf.d",
    "systemd": "usr/lib/systemd",
}


@dataclass(frozen=True, slots=True)
class Body:
    """One function.

    Attributes:
        name: of it.
        patches: what ``default_prepare`` applies.
    """

    script: Script
    name: str
    patches: Sequence[str] = ()

    def text(self, node: Node) -> str:
        """A part of it with our variables in the place of abuild's and of constants."""
        # The grammar takes some variables before a quote for plain words.
        return _LEFT.sub(
            lambda match: _OURS.get(match[1] or match[2] or "", match[0]),
            rewritten(node, self._replaced),
        )

    def _replaced(self, node: Node) -> str | None:
        if node.type == "command_substitution":
            return None
        name = next((source(c) for c in node.children if c.type == "variable_name"), "")
        if name in _OURS and source(node) in {f"${name}", f"${{{name}}}"}:
            return _OURS[name]
        value = expansion(node, self.script.values)
        simple = value is not None and re.fullmatch(r"[A-Za-z0-9_./:+,=-]{0,200}", value)
        return value if simple and name not in self.script.unknown else None


def steps_of(body: Body, draft: Draft) -> list[Step]:
    """The steps of a function of the main package."""
    commands = [node for node in body.script.functions[body.name].children if node.is_named]
    commands = [node for node in commands if node.type != "comment"]
    if all(_is_plain(node) for node in commands):
        return _merged([_step(body, node, draft) for node in commands])
    text = "\n".join(body.text(node) for node in commands)
    steps = []
    if "default_prepare" in text:
        text = re.sub(r"^\s*default_prepare\s*$", "", text, flags=re.MULTILINE).strip()
        steps = _patched(body)
    return [*steps, {"name": body.name, "runs": _callable(body.name, text)}]


def _callable(name: str, text: str) -> str:
    """Shell text, as a function where it uses what only functions have."""
    text = textwrap.dedent(text.replace("\n\t", "\n"))
    if not _IN_FUNCTION.search(text):
        return f"{text}\n"
    return f"{name}() {{\n{textwrap.indent(text, '  ')}\n}}\n{name}\n"


def subpackage(script: Script, item: str, draft: Draft) -> dict[str, Any]:
    """A subpackage of ``NAME[:FUNCTION[:ARCH]]``."""
    name, _, rest = item.partition(":")
    function = rest.partition(":")[0]
    suffix = name.removeprefix(f"{draft.name}-")
    function = function or re.sub(r"[^A-Za-z0-9_]", "_", suffix)
    shown = name.replace(draft.name, "${{package.name}}", 1)
    result: dict[str, Any] = {"name": shown, "description": f"{draft.name} ({suffix})"}
    needs = script.values.get(f"depends_{suffix}", "").split()
    if needs:
        result["dependencies"] = {"runtime": [need for need in needs if need[0] != "!"]}
    if function in script.functions:
        body = Body(script, function)
        result["pipeline"] = _split(body, result)
    elif suffix in _SPLITS:
        result["pipeline"] = [{"uses": f"split/{_SPLITS[suffix]}"}]
    elif suffix in _FOLDERS:
        result["pipeline"] = [{"runs": f"{_amove(f'amove {_FOLDERS[suffix]}')}\n"}]
    else:
        draft.note(f"what goes into {name} is not known")
        result["pipeline"] = []
    return result


def _split(body: Body, result: dict[str, Any]) -> list[Step]:
    """The steps of a function of a subpackage; what it sets goes into ``result``."""
    steps: list[Step] = []
    lines = []
    for node in body.script.functions[body.name].children:
        text = body.text(node) if node.is_named else ""
        name, equals, value = text.partition("=")
        if text.startswith("default_") and text.removeprefix("default_") in _SPLITS:
            steps.append({"uses": f"split/{_SPLITS[text.removeprefix('default_')]}"})
        elif node.type == "variable_assignment" and equals and name in {"pkgdesc", "depends"}:
            value = value.strip("\"'")
            if name == "pkgdesc":
                result["description"] = value
            elif "$" not in value and value.split():
                result["dependencies"] = {"runtime": value.split()}
        elif text and node.type != "comment":
            lines.append(text)
    if lines:
        steps.append({"runs": _callable(body.name, _amove("\n".join(lines)))})
    return steps


def _is_plain(node: Node) -> bool:
    """A command by itself, on which no other one depends."""
    if node.type != "command":
        return False
    name = node.child_by_field_name("name")
    return name is not None and source(name) not in _STATEFUL


def _step(body: Body, node: Node, draft: Draft) -> Step:
    words = [body.text(child) for child in node.children if child.type != "variable_assignment"]
    name, arguments = words[0], words[1:]
    if name == "default_prepare":
        return _patched(body)[0] if body.patches else {}
    if name in {"./configure", "../configure"} and not name.startswith(".."):
        draft.packages += ["autoconf", "automake"]
        return _use("autoconf/configure", [a for a in arguments if not _CONFIGURE.fullmatch(a)])
    if name == "make":
        return _make(arguments)
    if name in {"meson", "abuild-meson", "cmake"}:
        step = _cmake(arguments) if name == "cmake" else _meson(name, arguments)
        if step:
            return step
    text = textwrap.dedent(body.text(node).replace("\n\t", "\n"))
    return {"name": body.name, "runs": f"{text}\n"}


def _make(arguments: list[str]) -> Step:
    if "install" in arguments:
        kept = [a for a in arguments if a != "install" and not a.startswith("DESTDIR=")]
        return _use("autoconf/make-install", kept)
    return _use("autoconf/make", [a for a in arguments if not re.fullmatch(r"-j.*", a)])


def _meson(name: str, arguments: list[str]) -> Step:
    kept = [a for a in arguments if not _MESON.fullmatch(a)]
    if name == "abuild-meson" or arguments[:1] == ["setup"]:
        options = [a for a in kept if a.startswith("-")]
        folder = [a for a in kept if not a.startswith("-") and a not in {"setup", "."}]
        return _use("meson/configure", options, folder[:1])
    verb = {"compile": "meson/compile", "install": "meson/install"}.get((arguments or [""])[0])
    folder = arguments[arguments.index("-C") + 1 :][:1] if "-C" in arguments else []
    return _use(verb, [], folder) if verb else {}


def _cmake(arguments: list[str]) -> Step:
    if arguments[:1] == ["--build"]:
        return _use("cmake/build", [], arguments[1:2])
    if arguments[:1] == ["--install"]:
        return _use("cmake/install", [], arguments[1:2])
    if "-B" not in arguments:
        return {}
    place = arguments.index("-B")
    kept = arguments[:place] + arguments[place + 2 :]
    options = [a for a in kept if not _CMAKE.fullmatch(a)]
    return _use("cmake/configure", options, arguments[place + 1 : place + 2])


def _use(pipeline: str, options: list[str], folder: Sequence[str] = ()) -> Step:
    inputs: dict[str, str] = {}
    if folder:
        inputs["output-dir"] = folder[0]
    if options:
        inputs["opts"] = " \\\n".join(options)
    return {"uses": pipeline, "with": inputs} if inputs else {"uses": pipeline}


def _patched(body: Body) -> list[Step]:
    return [{"uses": "patch", "with": {"patches": "\n".join(body.patches)}}] if body.patches else []


def _merged(steps: list[Step]) -> list[Step]:
    """Neighbouring pieces of shell as one step."""
    result: list[Step] = []
    for step in filter(None, steps):
        if "runs" in step and result and "runs" in result[-1]:
            result[-1]["runs"] += step["runs"]
        else:
            result.append(step)
    return result


def _amove(text: str) -> str:
    """``amove`` of abuild in plain shell."""

    def moved(match: re.Match[str]) -> str:
        return "\n".join(
            textwrap.dedent(f"""\
            for path in "${{{{targets.destdir}}}}"/{pattern}; do
              target="${{{{targets.contextdir}}}}${{path#"${{{{targets.destdir}}}}"}}"
              mkdir -p "$(dirname "$target")"
              mv "$path" "$target"
            done""")
            for pattern in match[1].split()
        )

    return re.sub(r"^\s*amove[ \t]+(.+)$", moved, text, flags=re.MULTILINE)
