"""A JSON schema as a grammar of llama.cpp (GBNF).

What the grammar lets through is valid under the schema (but for the 29th of February, which stands in every year); it
need not let everything through: properties that the schema does not name are never made. A keyword that it cannot keep
is refused with a pointer to it, never passed over. Our own and not the converter of llama-cpp-python 0.3.36, because
that one lets raw line breaks into strings, loses the backslashes of constants, mixes up names of rules and passes over
what it does not know.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.errors import Invalid
from shared.schemas.problem import FieldError

MOST_CHARS = 65_536
MOST_NODES = 500
MOST_DEPTH = 32
MOST_CHOICES = 1000
"""Values of one enum or whole numbers between two bounds."""
MOST_REPEATS = 1000
"""Items of an array or characters of a string, where the schema bounds them."""
MOST_GRAMMAR_CHARS = 200_000

_SAYS_NOTHING = frozenset({
    "$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples", "deprecated",
    "readOnly", "writeOnly",
})  # fmt: skip
_KNOWN = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "format"},
    "integer": {"minimum", "maximum"},
    "number": set[str](),
    "boolean": set[str](),
    "null": set[str](),
}
_HEX = "[0-9a-fA-F]"
_FORMATS = {
    "date": "date",
    "time": "time",
    "date-time": 'date "T" time',
    "uuid": ' "-" '.join(f"{_HEX}{{{size}}}" for size in (8, 4, 4, 4, 12)),
}
_DAY = '"0" [1-9] | "1" [0-9] | "2" [0-9]'
_BASE = {
    # Neither a raw control character nor half a surrogate pair: neither can be stored as text.
    "char": r'[^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" ([0-9abcABCefEF] ' + _HEX + r'{3} | [dD] [0-7] ' + _HEX
    + "{2}))",
    "string": r'"\"" char* "\""',
    "whole": '"0" | [1-9] [0-9]{0,14}',
    "integer": '"-"? whole',
    "number": '"-"? whole ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "sep": '" "?',
    "value": "object | array | string | number | boolean | null",
    "member": 'string ":" sep value',
    "object": '"{" (member ("," sep member)*)? "}"',
    "array": '"[" (value ("," sep value)*)? "]"',
    "date": '[0-9]{4} "-" (("0" [13578] | "1" [02]) "-" (' + _DAY + ' | "3" [01]) | '
    '("0" [469] | "11") "-" (' + _DAY + ' | "30") | "02-" (' + _DAY + "))",
    "time": '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] "Z"',
}  # fmt: skip


def grammar_of(schema: str) -> str:
    """GBNF whose first rule is `root`. Raises Invalid with a pointer into the schema."""
    if len(schema) > MOST_CHARS:
        raise _no("", f"it is longer than {MOST_CHARS} characters")
    try:
        return _Grammar(json.loads(schema)).text()
    except (ValueError, RecursionError) as error:
        raise _no("", "it is not JSON") from error


class _Grammar:
    """Rules are numbered in the order in which they are met, so that no name of a schema can stand for another's."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._rules: dict[str, str] = {}
        self._named: dict[str, str] = {}
        self._nodes = 0
        self._rules["root"] = self._rule(root, "", 0)

    def text(self) -> str:
        made = "\n".join(f"{name} ::= {rule}" for name, rule in (self._rules | _BASE).items()) + "\n"
        if len(made) > MOST_GRAMMAR_CHARS:
            raise _no("", "it is too large")
        return made

    def _rule(self, schema: Any, at: str, depth: int) -> str:
        """The name of the rule for a part of the schema."""
        self._nodes += 1
        if self._nodes > MOST_NODES or depth > MOST_DEPTH:
            raise _no(at, f"it has more than {MOST_NODES} parts or is nested deeper than {MOST_DEPTH}")
        if schema is True or schema == {}:
            return "value"
        if not isinstance(schema, dict):
            raise _no(at, "this is not a schema that anything fits")
        name = f"r{self._nodes}"
        self._rules[name] = self._body(schema, at, depth)
        return name

    def _body(self, schema: Mapping[str, Any], at: str, depth: int) -> str:
        told = {key for key in schema if key not in _SAYS_NOTHING}
        for key, alone in (("$ref", self._ref), ("anyOf", self._any), ("enum", self._enum), ("const", self._const)):
            if key in told:
                _only(told, {key, "type"} if key in ("enum", "const") else {key}, at)
                return alone(schema, at, depth)
        kind = schema.get("type", _guessed(told))
        if isinstance(kind, list) and kind:
            _only(told, {"type"}.union(*(_KNOWN.get(str(each), set()) for each in kind)), at)
            return " | ".join(self._of_kind(each, _part(schema, str(each)), at, depth) for each in kind)
        _only(told, {"type"} | _KNOWN.get(str(kind), set()), at)
        return self._of_kind(kind, schema, at, depth)

    def _of_kind(self, kind: Any, schema: Mapping[str, Any], at: str, depth: int) -> str:
        if kind is None:
            return "value"
        if kind == "object":
            return self._object(schema, at, depth)
        if kind == "array":
            return self._array(schema, at, depth)
        if kind == "string":
            return _string(schema, at)
        if kind == "integer":
            return _integer(schema, at)
        if kind in ("number", "boolean", "null"):
            return str(kind)
        raise _no(f"{at}/type", "this type is not known")

    def _ref(self, schema: Mapping[str, Any], at: str, depth: int) -> str:
        ref = schema["$ref"]
        if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
            raise _no(f"{at}/$ref", "only references within the schema are followed, as `#/$defs/name`")
        if ref not in self._named:
            self._named[ref] = f"n{len(self._named)}"
            self._rules[self._named[ref]] = self._rule(self._found(ref, at), ref[1:], depth + 1)
        return self._named[ref]

    def _found(self, ref: str, at: str) -> Any:
        found = self._root
        for step in ref.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, dict) or step not in found:
                raise _no(f"{at}/$ref", "it refers to what is not there")
            found = found[step]
        return found

    def _any(self, schema: Mapping[str, Any], at: str, depth: int) -> str:
        choices = _list(schema["anyOf"], f"{at}/anyOf")
        return " | ".join(self._rule(each, f"{at}/anyOf/{n}", depth + 1) for n, each in enumerate(choices))

    def _enum(self, schema: Mapping[str, Any], at: str, depth: int) -> str:
        return " | ".join(_literal(_plain(each)) for each in _list(schema["enum"], f"{at}/enum"))

    def _const(self, schema: Mapping[str, Any], at: str, depth: int) -> str:
        return _literal(_plain(schema["const"]))

    def _object(self, schema: Mapping[str, Any], at: str, depth: int) -> str:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        if not isinstance(properties, dict):
            raise _no(f"{at}/properties", "this is not an object")
        if not isinstance(required, list) or any(name not in properties for name in required):
            raise _no(f"{at}/required", "each required name must stand in `properties`")
        if not properties:
            return self._free(schema.get("additionalProperties", True), at, depth)
        members = []
        for name, each in properties.items():
            value = self._rule(each, f"{at}/properties/{_step(name)}", depth + 1)
            members.append((f'{_literal(json.dumps(name))} ":" sep {value}', name in required))
        return f'"{{" {self._members(members)} "}}"'

    def _members(self, members: Sequence[tuple[str, bool]]) -> str:
        """In the order of the schema; those that are not needed may be left out. A comma before each but the first."""
        after = ""
        starts: list[str] = []
        for member, needed in reversed(members):
            starts = [self._own(f"{member} {after}"), *([] if needed else starts)]
            after = self._own(f'("," sep {member}){"" if needed else "?"} {after}')
        return f"({' | '.join(starts)}){'' if any(needed for _, needed in members) else '?'}"

    def _own(self, rule: str) -> str:
        name = f"m{len(self._rules)}"
        self._rules[name] = rule
        return name

    def _free(self, values: Any, at: str, depth: int) -> str:
        if values is False:
            return '"{}"'
        value = self._rule(values, f"{at}/additionalProperties", depth + 1)
        member = f'string ":" sep {value}'
        return f'"{{" ({member} ("," sep {member})*)? "}}"'

    def _array(self, schema: Mapping[str, Any], at: str, depth: int) -> str:
        item = self._rule(schema.get("items", True), f"{at}/items", depth + 1)
        least, most = _bounds(schema, "minItems", "maxItems", at)
        if most == 0:
            return '"[]"'
        more = f'("," sep {item}){{{max(least - 1, 0)},{"" if most is None else most - 1}}}'
        return f'"[" ({item} {more}){"" if least else "?"} "]"'


def _string(schema: Mapping[str, Any], at: str) -> str:
    least, most = _bounds(schema, "minLength", "maxLength", at)
    if "format" in schema:
        if schema["format"] not in _FORMATS or "minLength" in schema or "maxLength" in schema:
            raise _no(f"{at}/format", f"only {', '.join(_FORMATS)} are known, and without a length")
        return rf'"\"" {_FORMATS[schema["format"]]} "\""'
    return "string" if most is None and not least else rf'"\"" char{{{least},{"" if most is None else most}}} "\""'


def _integer(schema: Mapping[str, Any], at: str) -> str:
    least, most = (schema.get(name) for name in ("minimum", "maximum"))
    for name, bound in (("minimum", least), ("maximum", most)):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int)):
            raise _no(f"{at}/{name}", "this is not a whole number")
    if least is None and most is None:
        return "integer"
    if most is None and least in (0, 1):
        return "whole" if least == 0 else "[1-9] [0-9]{0,14}"
    if least is None or most is None or not 0 <= most - least < MOST_CHOICES:
        pointer = f"{at}/{'maximum' if least is None else 'minimum'}"
        raise _no(pointer, f"give both bounds, at most {MOST_CHOICES} apart, or only a minimum of 0 or 1")
    return " | ".join(f'"{number}"' for number in range(least, most + 1))


def _bounds(schema: Mapping[str, Any], least: str, most: str, at: str) -> tuple[int, int | None]:
    found = schema.get(least, 0), schema.get(most)
    for name, bound in zip((least, most), found, strict=True):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int)):
            raise _no(f"{at}/{name}", "this is not a whole number")
        if bound is not None and not 0 <= bound <= MOST_REPEATS:
            raise _no(f"{at}/{name}", f"it must be between 0 and {MOST_REPEATS}")
    if found[1] is not None and found[1] < found[0]:
        raise _no(f"{at}/{most}", f"it is less than {least}")
    return found


def _only(told: Iterable[str], known: set[str], at: str) -> None:
    for key in sorted(told):
        if key not in known:
            raise _no(f"{at}/{_step(key)}", "this keyword cannot be kept here, so the answer might break it")


def _guessed(told: set[str]) -> str | None:
    return next((kind for kind in ("object", "array") if told & _KNOWN[kind]), None)


def _part(schema: Mapping[str, Any], kind: str) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key in _KNOWN.get(kind, set())}


def _list(values: Any, at: str) -> list[Any]:
    if not isinstance(values, list) or not 0 < len(values) <= MOST_CHOICES:
        raise _no(at, f"this is not a list of 1 to {MOST_CHOICES} values")
    return values


def _plain(value: Any) -> str:
    """As the answer has to write it. Raises ValueError for what only Python takes for JSON."""
    return json.dumps(value, allow_nan=False)


def _literal(text: str) -> str:
    return '"' + re.sub(r'["\\]', lambda found: "\\" + found.group(), text) + '"'


def _step(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _no(at: str, why: str) -> Invalid:
    pointer = f"/schema{at}"
    return Invalid(f"The schema of the answer cannot be followed at {pointer}: {why}.",
                   errors=[FieldError(pointer=pointer, detail=why)])  # fmt: skip
