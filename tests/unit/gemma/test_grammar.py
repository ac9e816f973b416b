"""Schemas as grammars: what they let through, and what is refused with a pointer."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.gemma.engines import Sampling
from services.gemma.engines.grammar import MOST_CHARS, MOST_DEPTH, grammar_of
from shared.errors import Invalid

needs_runtime = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None, reason="the language runtime is not built (`nemo up` builds it)"
)
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 5},
        "age": {"type": "integer", "minimum": 0},
        "mood": {"enum": ["good", "bad\n\"one\"", None, 3]},
        "born": {"type": "string", "format": "date"},
    },
    "required": ["age", "mood"],
}  # fmt: skip
TREE = {
    "$ref": "#/$defs/node/x",
    "$defs": {"node/x": 1, "node": {"x": {"type": "object", "properties": {
        "string": {"type": "number"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node/x"}, "minItems": 1}
    }}}},
}  # fmt: skip
CASES: list[tuple[Any, list[str], list[str]]] = [
    (
        PERSON,
        ['{"age": 3, "mood": "good"}', '{"name":"Ann","age":0,"mood":null,"born":"1990-02-28"}',
         r'{"age":12, "mood": "bad\n\"one\""}', '{"name": "\\n\\u00e9\\\\😀a", "age": 1, "mood": 3}'],
        ['{"mood": "good"}', '{"age": 3}', '{"age": -1, "mood": "good"}', '{"mood": "good", "age": 3}',
         '{"name": "", "age": 1, "mood": 3}', '{"name": "sixsix", "age": 1, "mood": 3}', '{"age": 01, "mood": 3}',
         '{"age":1,"mood":3,"born":"1990-02-30"}', '{"age":1,"mood":3,"born":"1990-13-01"}', '{"age":1,"mood":3,}',
         '{"age":1,"mood":"bad\n\\"one\\""}', '{"age":1,"mood":3,"more":1}', '{"age": 3, "mood": "good"'],
    ),
    (TREE, ['{}', '{"string": 1.5e3}', '{"children": [{}, {"string": -2}]}', '{"string":0,"children":[{}]}'],
     ['{"children": []}', '{"string": "a"}', '{"children": [{}], "string": 1}']),
    ({"type": "string"}, ['""', r'"a\tb\u12aB"', '"é😀"'],
     ['"a\nb"', '"a\tb"', '"\x00"', '"\x7f"', r'"\x"', r'"\ud83d"', r'"\uDfff"', '"', 'a', '"a"b']),
    ({"type": ["integer", "null"], "minimum": -2, "maximum": 3}, ["-2", "0", "3", "null"], ["-3", "4", "1.0", "true"]),
    ({"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
     ["[true,false]", "[true, true, true]"], ["[]", "[true]", "[true,true,true,true]", "[true,,true]"]),
    ({"type": "array", "maxItems": 1, "items": {"const": {"a": [1, "\\"]}}}, ['[]', r'[{"a": [1, "\\"]}]'],
     [r'[{"a": [1, "\"]}]', '[1]']),
    ({"type": "array", "maxItems": 0}, ["[]"], ["[1]"]),
    ({"type": "object", "additionalProperties": {"type": "number"}}, ['{}', '{"a": 1, "b": -2.5E-7}'], ['{"a": "b"}']),
    ({"type": "object", "additionalProperties": False}, ["{}"], ['{"a":1}']),
    ({"anyOf": [{"type": "string", "format": "uuid"}, {"type": "string", "format": "date-time"}]},
     ['"123e4567-e89b-12d3-a456-426614174000"', '"2024-12-31T23:59:59Z"'], ['"x"', '"2024-12-31T24:00:00Z"']),
    ({}, ["1", '"a"', '{"a": [null, true, {"b": []}]}', "[]"], ["nul", "{a: 1}", "[1 2]"]),
]  # fmt: skip
Fits = Callable[[Any, str], bool]


@pytest.fixture(scope="module")
def fits() -> Iterator[Fits]:
    """Whether a text would be let through whole; asked of the real grammar, over the real vocabulary."""
    from services.gemma.engines.llama_context import Weights
    from services.gemma.engines.llama_sampling import Sampler

    found = Path(__file__).parents[3] / "models/smollm2-135m-instruct/smollm2-135m-instruct-q4_1.gguf"
    if not found.is_file():
        pytest.skip("the weights are not there (`nemo models pull`)")
    weights = Weights(found, 0)
    end = weights.tokenize("<|im_end|>", special=True)[0]

    def asked(schema: Any, text: str) -> bool:
        sampler = Sampler(weights, Sampling(schema=json.dumps(schema)))
        try:
            for token in weights.tokenize(text, special=False):
                if not sampler.follows(token):
                    return False
                sampler.accept([token])
            return sampler.follows(end)
        finally:
            sampler.close()

    yield asked
    weights.close()


@needs_runtime
@pytest.mark.parametrize("case", range(len(CASES)))
def test_what_is_let_through(fits: Fits, case: int) -> None:
    schema, good, bad = CASES[case]
    for text in good:
        json.loads(text)
        assert fits(schema, text), text
    for text in bad:
        assert not fits(schema, text), text


REFUSED: list[tuple[Any, str]] = [
    ({"type": "string", "pattern": "^a+$"}, "/schema/pattern"),
    ({"type": "number", "minimum": 0}, "/schema/minimum"),
    ({"type": "integer", "maximum": 5}, "/schema/maximum"),
    ({"type": "integer", "minimum": 0, "maximum": 10**9}, "/schema/minimum"),
    ({"type": "integer", "minimum": "0"}, "/schema/minimum"),
    ({"type": "array", "items": {"type": "array", "uniqueItems": True}}, "/schema/items/uniqueItems"),
    ({"type": "array", "maxItems": 10**9}, "/schema/maxItems"),
    ({"type": "array", "minItems": 3, "maxItems": 2}, "/schema/maxItems"),
    ({"type": "object", "properties": {"a/b": {"type": "strnig"}}}, "/schema/properties/a~1b/type"),
    ({"type": "object", "properties": {"a": False}}, "/schema/properties/a"),
    ({"type": "object", "properties": []}, "/schema/properties"),
    ({"type": "object", "properties": {"a": {}}, "required": ["b"]}, "/schema/required"),
    ({"type": "object", "oneOf": [{}]}, "/schema/oneOf"),
    ({"allOf": [{"type": "string"}]}, "/schema/allOf"),
    ({"anyOf": []}, "/schema/anyOf"),
    ({"enum": "abc"}, "/schema/enum"),
    ({"$ref": "https://example.org/schema.json"}, "/schema/$ref"),
    ({"$ref": "#/$defs/none"}, "/schema/$ref"),
    ({"$ref": "#/$defs/a", "type": "string", "$defs": {"a": {}}}, "/schema/type"),
    ({"type": "string", "format": "email"}, "/schema/format"),
    ([], "/schema"),
    (3, "/schema"),
    (None, "/schema"),
]


@pytest.mark.parametrize(("schema", "pointer"), REFUSED)
def test_what_cannot_be_kept_is_refused_with_a_pointer(schema: Any, pointer: str) -> None:
    with pytest.raises(Invalid) as caught:
        grammar_of(json.dumps(schema))
    assert [each.pointer for each in caught.value.errors] == [pointer] and pointer in caught.value.detail


def test_what_is_too_large_or_no_json_is_refused() -> None:
    deep: Any = {"type": "string"}
    for _ in range(MOST_DEPTH + 1):
        deep = {"type": "array", "items": deep}
    wide = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(2000)}}
    names = {"type": "object", "properties": {f"{n}{'x' * 40}": {"type": "string"} for n in range(450)}}
    for schema in (deep, wide):
        with pytest.raises(Invalid):
            grammar_of(json.dumps(schema))
    for text in ("", "{", "[" * 5000, '{"enum": [NaN]}', " " * (MOST_CHARS + 1), json.dumps({"enum": ["x" * 300_000]})):
        with pytest.raises(Invalid):
            grammar_of(text)
    assert len(grammar_of(json.dumps(names))) < 200_000


@needs_runtime
def test_one_that_only_refers_to_itself_is_refused_by_the_runtime(fits: Fits) -> None:
    for schema in ({"$ref": "#"}, {"anyOf": [{"$ref": "#"}, {"type": "string"}]}):
        with pytest.raises(Invalid):
            fits(schema, '"a"')
