"""The JSON Schema (2020-12) of a source mapping, for editors: completion, hover texts, and most wrong words.

Made from the tables of ``words.py``, which the loader reads too. What a schema cannot know (fields, roles, types) is
said when the mapping is loaded beside its matrix.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from ownership_stream.matrix.words import Key
from ownership_stream.sources import words
from ownership_stream.sources.mapping import APPLY_FORMS, CONNECTORS, FORMS

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string", "minLength": 1}
_COLUMN: Final = r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)?"
_CELL: Final[Schema] = {"type": "string", "pattern": f"^{_COLUMN}( as [a-z0-9 ]+)?$"}
_TARGET: Final[Schema] = {"type": "string", "pattern": r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)?( as [a-z0-9 ]+)?$"}
_LIST: Final[Schema] = {"type": "array", "items": _TEXT, "minItems": 1, "uniqueItems": True}
_KEY: Final[Schema] = {"oneOf": [_CELL, {"type": "array", "items": _CELL, "minItems": 1, "uniqueItems": True}]}


def schema() -> Schema:
    """The schema of the whole document."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Source mapping",
        **_object(words.TOP, _top()),
    }


def render() -> str:
    """The schema as it is kept in a file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _top() -> Mapping[str, Schema]:
    actors = _object(words.ACTORS, dict.fromkeys(words.ACTORS, _named(_TEXT)))
    return {
        "source": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
        "system": {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"},
        "connector": _one_of(CONNECTORS),
        "topics": _LIST,
        "tables": _named(_object(words.TABLE, _table())),
        "actors": actors,
        "roles": actors,
        "ignored tables": _LIST,
        "own client": _TEXT,
        "form": {"oneOf": [{"const": word, "description": meaning} for word, meaning in FORMS.items()]},
        "added prefix": _TEXT,
        "without position": {"const": words.RECORD_TIMESTAMP},
        "servers": {**_LIST, "items": {"type": "integer", "minimum": 1}},
        "apply as": _one_of(APPLY_FORMS),
        "unavailable value": _TEXT,
    }


def _table() -> Mapping[str, Schema]:
    record = _object(words.RECORD, {"column": _CELL, "else": {"type": "string", "pattern": f"^.+{words.PLACE_OF_KEY}"}})
    who = _object(words.WHO, {"always": _TEXT, "actor": _LIST})
    words_ = {"oneOf": [_TEXT, _LIST]}
    conditions = {"type": "object", "propertyNames": {"pattern": f"^{_COLUMN}$"}, "additionalProperties": words_}
    columns = {"type": "object", "propertyNames": {"pattern": f"^{_COLUMN}$"}, "additionalProperties": _TARGET}
    single = ("actor", "role", "updated at", "reason", "base version", "marker")
    return {
        **dict.fromkeys(words.USES, columns),
        **dict.fromkeys(single, _CELL),
        "primary": {"type": "boolean"},
        "key": _KEY,
        "of": _KEY,
        "record": {"oneOf": [{"const": words.KEY_ITSELF}, record]},
        "speaks": _object(words.SPEAKS, {"where": conditions, "latest by": _KEY}),
        "evidence": _named({"type": "object", "additionalProperties": {"oneOf": [_CELL, who]}}),
        "ignored": _LIST,
    }


def _one_of(words_: Mapping[Any, str]) -> Schema:
    return {"oneOf": [{"const": word, "description": meaning} for word, meaning in words_.items()]}


def _object(keys: Mapping[str, Key], values: Mapping[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": {word: {"description": key.meaning, **values[word]} for word, key in keys.items()},
        "required": [word for word, key in keys.items() if key.required],
        "additionalProperties": False,
    }


def _named(value: Schema) -> Schema:
    return {"type": "object", "additionalProperties": value, "minProperties": 1}
