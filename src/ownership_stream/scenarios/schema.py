"""The JSON Schema (2020-12) of a scenario file, for editors: completion, hover texts, and most wrong words.

Made from the tables of ``words.py``, which the parser reads too. Fields, systems and roles are the matrix's
and unknown to a schema, so that a mapping which may name them takes any other word: ``ownership-stream simulate`` says
which is wrong.
"""

import json
from collections.abc import Iterable
from typing import Any, Final

from ownership_stream.scenarios import words

Schema = dict[str, Any]

_TIME: Final[Schema] = {
    "type": "string",
    "pattern": r"^([+-]\d+(ms|s|m|h|d|w)|\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}.*)?)$",
}
_DURATION: Final[Schema] = {"type": "string", "pattern": r"^\d+\s*(ms|s|m|h|d|w)$"}
_TEXT: Final[Schema] = {"type": "string"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_FLAG: Final[Schema] = {"type": "boolean"}
_ANY: Final[Schema] = {}
_TABLE: Final[Schema] = {"type": "object"}
_NAMES: Final[Schema] = {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True}


def schema() -> Schema:
    """The schema of a whole file: a list of scenarios, or one."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Scenarios of an ownership matrix",
        "oneOf": [{"type": "array", "items": _ref("scenario"), "minItems": 1}, _ref("scenario")],
        "$defs": {
            "scenario": _object(words.SCENARIO, _scenario(), open_=False),
            "act": _act(),
            "event": _object(words.EVENT, _event(), open_=True),
            "outcomes": _outcomes(),
            "sends": _sends(),
            "queue": _queue(),
        },
    }


def render() -> str:
    """The schema as it is kept in a file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _expected() -> dict[str, Schema]:
    return {
        "then": _ref("outcomes"),
        "merged": _merged(),
        "decided_again": _ref("outcomes"),
        "sends": _ref("sends"),
        "queue": _ref("queue"),
        "current": {"type": "object", "additionalProperties": _or_long(words.CURRENT, _current())},
        "shown": {"type": "object", "additionalProperties": _TABLE},
    }


def _scenario() -> dict[str, Schema]:
    return {
        "name": _TEXT,
        "about": _TEXT,
        "at": _TIME,
        **_standing(),
        "when": {"type": "array", "items": _ref("act"), "minItems": 1},
        **_expected(),
    }


def _standing() -> dict[str, Schema]:
    """A record as it stands: who has it, and its fields."""
    return {
        "present": {"oneOf": [{"const": words.NONE}, _NAMES]},
        "given": {"type": "object", "additionalProperties": _or_long(words.GIVEN, _given())},
    }


def _writer() -> dict[str, Schema]:
    return {"by": _TEXT, "actor": _TEXT, "origin": {"enum": [words.PERSON, words.AUTOMATION]}}


def _act() -> Schema:
    values = {
        "lands": _TEXT,
        "after": _DURATION,
        "pause": _TEXT,
        "resume": _TEXT,
        "resolve": _object(words.RESOLVE, _resolve(), open_=False),
        "link": _object(words.LINK, _standing(), open_=False),
        "confirm": {"const": True},
        "unlink": {"const": True},
        "answer": _TEXT,
        "repeat": {"type": "integer", "minimum": 1},
        "of": {"type": "array", "items": _ref("act"), "minItems": 1},
        **_expected(),
        "as": _TABLE,
        "marked": _FLAG,
        "row": _TEXT,
        **_writer(),
        "at": _TIME,
        "arrives": _TIME,
    }
    act = _object({**words.STEP, **words.LANDING}, values, open_=False)
    return {**act, "additionalProperties": _ref("event")}


def _resolve() -> dict[str, Schema]:
    return {
        **dict.fromkeys(("case", "by", "reason", "accept"), _TEXT),
        **dict.fromkeys(("keep", "dismiss", "seen"), _FLAG),
        "set": _ANY,
    }


def _event() -> dict[str, Schema]:
    return {
        "reason": {"type": ["string", "null"]},
        "base_version": _COUNT,
        "op": {"enum": list(words.OPS)},
        "position": {"enum": list(words.POSITIONS)},
        "row": _TEXT,
        "key": _TEXT,
        "sticky": {"type": "array", "items": {"enum": list(words.STICKY)}, "minItems": 1, "uniqueItems": True},
        "unavailable": _NAMES,
        "fields": _TABLE,
        "compared": _TABLE,
        "requests": _TABLE,
        **_writer(),
        "at": _TIME,
        "arrives": _TIME,
    }


def _given() -> dict[str, Schema]:
    return {"value": _ANY, "version": _COUNT, "from": _TEXT, "at": _TIME, "shown": _TABLE, **_writer()}


def _current() -> dict[str, Schema]:
    return {"value": _ANY, "version": _COUNT, "from": _TEXT, "by": _TEXT, "grant": _TEXT}


def _outcomes() -> Schema:
    values: dict[str, Schema] = {
        "rule": _TEXT,
        "grant": _TEXT,
        "stage": _TEXT,
        **dict.fromkeys(("unseen", "joined", "request", "ends_override"), _FLAG),
    }
    end: Schema = {"oneOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}
    one = {**_object(words.OUTCOME, values, open_=True), "additionalProperties": end}
    return {"oneOf": [{"enum": [words.NOTHING, words.NONE]}, one, {"type": "array", "items": one}]}


def _merged() -> Schema:
    ends: Schema = {"type": "object", "additionalProperties": {"enum": list(words.MERGED)}}
    return {"oneOf": [{"enum": [words.NOTHING, words.NONE]}, ends]}


def _sends() -> Schema:
    send = _object(words.SEND, {"kind": {"enum": ["change", "restore", "create"]}, "key": _TEXT}, open_=True)
    one = {"oneOf": [{"const": words.NOTHING}, send, {"type": "array", "items": send}]}
    return {"oneOf": [{"enum": [words.NOTHING, words.NONE]}, {"type": "object", "additionalProperties": one}]}


def _queue() -> Schema:
    values = {"owner": _TEXT, "reason": _TEXT, "joined": _COUNT, "escalated": _COUNT}
    case = {"oneOf": [_TEXT, {"type": "array", "items": _TEXT}, _object(words.CASE, values, open_=False)]}
    return {"oneOf": [{"enum": [words.NOTHING, words.NONE]}, {"type": "object", "additionalProperties": case}]}


def _or_long(keys: words.Words, values: dict[str, Schema]) -> Schema:
    """A bare value, or the value with words beside it; the words of evidence are the matrix's."""
    return {"anyOf": [{"not": {"type": "object"}}, _object(keys, values, open_=True)]}


def _object(keys: words.Words, values: dict[str, Schema], *, open_: bool) -> Schema:
    """A mapping of these words; ``open_`` where the matrix's names may stand among them."""
    found: Schema = {
        "type": "object",
        "properties": {word: {"description": key.meaning, **values[word]} for word, key in keys.items()},
    }
    required: Iterable[str] = [word for word, key in keys.items() if key.required]
    return {
        **found,
        **({"required": required} if required else {}),
        **({} if open_ else {"additionalProperties": False}),
    }


def _ref(definition: str) -> Schema:
    return {"$ref": f"#/$defs/{definition}"}
