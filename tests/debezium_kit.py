"""Records of Debezium's connectors from `tests/fixtures/debezium`, and the example mappings to read them with."""

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from matrices import ROOT
from ownership_stream import sources
from ownership_stream.model import Change
from source_kit import MATRIX, one, packed

FIXTURES: Final = Path(__file__).parent / "fixtures" / "debezium"
EXAMPLES: Final = ROOT / "matrix" / "sources" / "examples"


def _example(name: str) -> sources.Mapping:
    return sources.load(EXAMPLES / f"{name}.yaml", MATRIX)


_FLATTENED: Final = _example("ehr-postgresql-flattened")
_MYSQL: Final = _example("ehr-mysql")
MAPPINGS: Final[dict[str, sources.Mapping]] = {
    "postgresql": msgspec.structs.replace(_FLATTENED, form="envelope"),
    "mysql": _MYSQL,
    "mariadb": msgspec.structs.replace(_MYSQL, connector="debezium mariadb"),
    "sqlserver": _example("ehr-sqlserver"),
    "oracle": _example("ehr-oracle"),
}
"""Envelopes' mappings by database."""
FLATTENED: Final = {
    name: msgspec.structs.replace(found, form="flattened", servers=frozenset()) for name, found in MAPPINGS.items()
}
"""The same tables with their rows flattened, of any server."""
DATABASES: Final = tuple(MAPPINGS)


def fixture(database: str, name: str) -> dict[str, Any]:
    """One record: topic, key, headers, value."""
    found: dict[str, Any] = json.loads((FIXTURES / database / f"{name}.json").read_text(encoding="utf-8"))
    return found


def recorded(database: str) -> list[dict[str, Any]]:
    """Records of a real connector, in their order."""
    lines = (FIXTURES / "recorded" / f"{database}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def read(
    record: dict[str, Any], mapping: sources.Mapping, *, epoch: int = 0, at: int = 1_767_261_600_500
) -> sources.Decoded:
    """What the mapping's decoder makes of a record."""
    key, value = (None if record[part] is None else packed(record[part]) for part in ("key", "value"))
    headers = [(name, text.encode()) for name, text in record["headers"]]
    return sources.decoder(mapping, MATRIX, epoch=epoch).decode(record["topic"], key, value, at, headers)


def decoded(database: str, name: str, *, epoch: int = 0) -> sources.Decoded:
    """What a fixture becomes by its database's mapping."""
    mapping = (FLATTENED if name.startswith("flattened") else MAPPINGS)[database]
    return read(fixture(database, name), mapping, epoch=epoch)


def change(database: str, name: str, *, epoch: int = 0) -> Change:
    """The one change that a fixture becomes."""
    return one(decoded(database, name, epoch=epoch))


def edited(database: str, name: str, **parts: dict[str, Any]) -> dict[str, Any]:
    """A fixture with keys of parts of its value replaced: `source={"pos": 5}`; a key that is ``...`` is taken out."""
    record = fixture(database, name)
    for part, changes in parts.items():
        node = record["value"] if part == "value" else record["value"][part]
        node |= changes
        for key in [key for key, value in changes.items() if value is ...]:
            del node[key]
    return record
