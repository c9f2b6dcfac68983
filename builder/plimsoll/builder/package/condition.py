r"""``if``: conditions over quoted texts and variables.

Grammar (``&&`` and ``||`` bind alike and from the left, as in the reference)::

    condition  = term { ( "&&" | "||" ) term }
    term       = "(" condition ")" | text ( "==" | "!=" ) text
    text       = "'" … "'" | '"' … '"' | "${{" name "}}"

In quoted texts ``\`` takes the next character as it is, and variables are replaced.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from plimsoll.builder.package.errors import ConditionError
from plimsoll.builder.package.substitute import replace_all, replace_known

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Lookup = Callable[[str], str]

_TOKEN = re.compile(
    r"""\s*(?:(?P<op>&&|\|\||==|!=|\(|\))
    |(?P<quote>['"])(?P<text>(?:\\.|(?!(?P=quote))[^\\])*)(?P=quote)
    |\$\{\{\s*(?P<name>[^}]*?)\s*\}\})""",
    re.VERBOSE | re.DOTALL,
)
_MAX_DEPTH = 50
_MAX_LENGTH = 64 << 10
_HINT = "write conditions such as: ${{build.arch}} == 'x86_64' && (${{vars.a}} != '')"


def evaluate(expression: str, lookup: Lookup) -> bool:
    """Whether a condition holds; an empty one does.

    Args:
        expression: the condition.
        lookup: value of a variable; raises for unknown ones.

    Raises:
        ConditionError: it is no condition.
        SubstitutionError: a variable is not defined.
    """
    if not expression.strip():
        return True
    parser = _Parser(expression, lookup)
    result = parser.condition(0)
    parser.end()
    return result


def bind(expression: str, known: Mapping[str, str]) -> str:
    """The same condition with some variables replaced, wherever they stand."""
    if "${{" not in expression:
        return expression
    parts: list[str] = []
    position = 0
    while match := _TOKEN.match(expression, position):
        part = match[0]
        if match["name"] in known:
            part = part.replace(part.strip(), _quoted(known[match["name"]]))
        elif match["quote"]:
            escaped = {name: _escaped(value) for name, value in known.items()}
            part = replace_known(part, escaped)
        parts.append(part)
        position = match.end()
    return "".join(parts) + expression[position:]


def _escaped(value: str) -> str:
    return re.sub(r"""(['"\\])""", r"\\\1", value)


def _quoted(value: str) -> str:
    return f"'{_escaped(value)}'"


class _Parser:
    def __init__(self, expression: str, lookup: Lookup) -> None:
        if len(expression) > _MAX_LENGTH:
            raise ConditionError("the condition is too long", hint=_HINT)
        self._expression = expression
        self._lookup = lookup
        self._position = 0

    def condition(self, depth: int) -> bool:
        if depth > _MAX_DEPTH:
            raise ConditionError("the condition has too many parentheses", hint=_HINT)
        value = self._term(depth)
        while (op := self._peek_op()) in {"&&", "||"}:
            self._next()
            right = self._term(depth)
            value = (value and right) if op == "&&" else (value or right)
        return value

    def end(self) -> None:
        if self._expression[self._position :].strip():
            raise self._bad()

    def _term(self, depth: int) -> bool:
        if self._peek_op() == "(":
            self._next()
            value = self.condition(depth + 1)
            if self._peek_op() != ")":
                raise self._bad()
            self._next()
            return value
        left = self._text()
        op = self._peek_op()
        if op not in {"==", "!="}:
            raise self._bad()
        self._next()
        right = self._text()
        return (left == right) if op == "==" else (left != right)

    def _text(self) -> str:
        match = self._next()
        if match["name"] is not None:
            return replace_all(match[0].strip(), self._lookup)
        if match["quote"]:
            text = replace_all(match["text"], self._lookup) if "${{" in match["text"] else None
            return re.sub(r"\\(.)", r"\1", match["text"] if text is None else text, flags=re.DOTALL)
        self._position = match.start()
        raise self._bad()

    def _peek_op(self) -> str | None:
        match = _TOKEN.match(self._expression, self._position)
        return match["op"] if match else None

    def _next(self) -> re.Match[str]:
        match = _TOKEN.match(self._expression, self._position)
        if match is None:
            raise self._bad()
        self._position = match.end()
        return match

    def _bad(self) -> ConditionError:
        rest = self._expression[self._position :].strip()
        where = f"at {rest[:40]!r}" if rest else "at its end"
        return ConditionError(
            f"the condition {self._expression.strip()[:120]!r} is not valid {where}", hint=_HINT
        )
