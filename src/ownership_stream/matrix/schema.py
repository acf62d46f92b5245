"""The JSON Schema (2020-12) of a matrix document, for editors: completion, hover texts, and most wrong words.

Made from the tables of ``words.py``, which the loader reads too. A schema cannot know whether a role or a stage that a
row names exists: ``ownership-stream matrix check`` says that, and everything else.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from ownership_stream.matrix import words
from ownership_stream.matrix.normalise import PHONE_REGIONS
from ownership_stream.matrix.words import Key

Schema = dict[str, Any]

_NAME: Final = "^[a-z][a-z0-9_]*$"
_TEXT: Final[Schema] = {"type": ["string", "number"]}
_DURATION: Final[Schema] = {"type": "string", "pattern": r"^\d+\s*(ms|s|m|h|d|w)$"}
_BOOLEAN: Final[Schema] = {"type": "boolean"}


def schema() -> Schema:
    """The schema of the whole document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Ownership matrix",
        **_object(words.TOP, _top()),
        "$defs": {"role": _reference("a role"), "stage": _reference("a stage"), "system": _reference("a system")},
    }


def render() -> str:
    """The schema as it is kept in a file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _top() -> Mapping[str, Schema]:
    return {
        "matrix": _TEXT,
        "revision": _TEXT,
        "owner": _object(words.OWNER, {"name": _TEXT, "contact": _TEXT}),
        "review": _object(
            words.REVIEW,
            {
                "every": {"type": "string", "pattern": r"^\d+\s*(day|week|month|year)s?$"},
                "last": {"type": "string", "format": "date"},
            },
        ),
        "systems": _named({"oneOf": [_TEXT, _object(words.SYSTEM, {"name": _TEXT, "create": _create()})]}, minimum=2),
        "stages": _object(
            words.STAGES,
            {
                "field": _reference("the stage field"),
                "care start": _ref("stage"),
                "map": _named({"oneOf": [_list(_ref("stage")), {"const": words.END}]}),
            },
        ),
        "roles": _named(_object(words.ROLE, {"name": _TEXT, "in": _list(_ref("system"))})),
        "escalation": _named(
            _object(
                words.ESCALATION,
                {"name": _TEXT, "sla": _DURATION, "then": _reference("another escalation owner")},
            )
        ),
        "defaults": _object(
            words.DEFAULTS,
            {
                "clock skew": _DURATION,
                "protected": _BOOLEAN,
                "on reject": _words(words.ON_REJECT),
                "phone region": {"enum": sorted(PHONE_REGIONS)},
            },
        ),
        "fields": _named(_object(words.FIELD, _field())),
    }


def _field() -> Mapping[str, Schema]:
    return {
        "label": _TEXT,
        "type": _type(),
        "owner": {"oneOf": [_ref("system"), _object(words.BY_STAGE, dict.fromkeys(words.BY_STAGE, _ref("system")))]},
        "only": _list(_ref("role")),
        "secondary": {
            "oneOf": [
                {"const": words.NONE},
                _list(_ref("role")),
                _named({"oneOf": [_list(_TEXT), {"const": words.ANY}]}),
            ]
        },
        "direction": _direction(),
        "summary": _object(words.SUMMARY, {"keep": _list(_TEXT), "map": _named(_TEXT, pattern=None)}),
        "rule": _words({str(rule): meaning for rule, meaning in words.RULES.items()}),
        "evidence": {"oneOf": [_pair(names) for names in words.EVIDENCE.values()]},
        "overrides": _list(_ref("role")),
        "protected": _BOOLEAN,
        "critical": _BOOLEAN,
        "reason": _words(words.REASONS),
        "on reject": _words(words.ON_REJECT),
        "group": _reference("a group"),
        "escalation": _reference("an escalation owner"),
    }


def _create() -> Schema:
    return {"type": "string", "pattern": rf"^({words.NEVER}|{words.AT}{_NAME.strip('^$')})$"}


def _type() -> Schema:
    one_of = {
        "type": "object",
        "properties": {"one of": _list(_TEXT)},
        "required": ["one of"],
        "additionalProperties": False,
    }
    parts = _named(_words(words.SCALAR_TYPES)) | {"not": {"required": ["one of"]}}
    return {"oneOf": [_words(words.FIELD_TYPES), one_of, parts]}


def _direction() -> Schema:
    one_way = r"^[a-z][a-z0-9_]* to [a-z][a-z0-9_]*(, summary)?$"
    return {"oneOf": [_words(words.SHARED_DIRECTIONS), {"type": "string", "pattern": one_way}]}


def _pair(names: tuple[str, str]) -> Schema:
    return {"type": "array", "items": {"enum": list(names)}, "minItems": 2, "uniqueItems": True}


def _object(keys: Mapping[str, Key], values: Mapping[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": {word: {"description": key.meaning, **values[word]} for word, key in keys.items()},
        "required": [word for word, key in keys.items() if key.required],
        "additionalProperties": False,
    }


def _named(value: Schema, *, minimum: int = 1, pattern: str | None = _NAME) -> Schema:
    names: Schema = {"propertyNames": {"pattern": pattern}} if pattern else {}
    return {"type": "object", **names, "additionalProperties": value, "minProperties": minimum}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1, "uniqueItems": True}


def _words(meanings: Mapping[str, str]) -> Schema:
    return {"oneOf": [{"const": word, "description": meaning} for word, meaning in meanings.items()]}


def _reference(what: str) -> Schema:
    return {"type": "string", "pattern": _NAME, "description": f"the key of {what}"}


def _ref(definition: str) -> Schema:
    return {"$ref": f"#/$defs/{definition}"}
