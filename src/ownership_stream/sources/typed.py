"""Debezium's envelopes that come decoded, by a schema whose types were compared with the mapping once.

A schema says of each column what its values are, so where no row of it could be refused for a type or an unknown
column, rows are taken as they are: without JSON in between, and without a look at each value's type. Whatever is not
that plain is left to the decoder of texts, which knows why: the answer is then ``None``. Knows no Avro.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple

from ownership_stream.sources.databases import Source
from ownership_stream.sources.events import OPS, Events, kind_of
from ownership_stream.sources.guard import Headers, traced
from ownership_stream.sources.result import IGNORE, Decoded
from ownership_stream.sources.rows import RowPlan, Values

Types = Mapping[str, AbstractSet[type]]
"""Name -> what its values are in Python; nothing for what is no scalar."""

NULL: Final = type(None)
_COUNTED: Final = frozenset({int, NULL})
_ENVELOPE: Final[dict[str, AbstractSet[type]]] = {
    "op": frozenset({str}),
    **dict.fromkeys(("ts_ms", "ts_us", "ts_ns"), _COUNTED),
}
_NEEDED: Final = frozenset({"op", "source", "before", "after"})
_UNREAD: Final = frozenset({"transaction", "message"})
_SOURCE: Final = frozenset({str, int, bool, NULL})


class EnvelopeTypes(NamedTuple):
    """What a schema says of an envelope: its own fields, the source block's, and the columns of either row."""

    envelope: Types
    source: Types
    row: Types


class _Table(NamedTuple):
    plan: RowPlan
    take: Callable[[dict[str, Any]], Values]


class TypedEvents:
    """Decodes the envelopes of one schema; may be shared by threads."""

    def __init__(self, plans: Mapping[str, RowPlan], events: Events, topics: AbstractSet[str], types: Types) -> None:
        """``topics`` are those of which nothing but rows comes, ``types`` the row's."""
        # Where a record has several rows, an update may end one of another record: that is the texts' matter.
        single = {name: plan for name, plan in plans.items() if not plan.several}
        taken = {name: _Table(plan, take) for name, plan in single.items() if (take := plan.taker(types)) is not None}
        self._tables, self._topics = taken, topics
        self._envelope, self._word, self._outer = events.envelope, events.database.word, events.database.outer

    def decode(
        self, topic: str, key: bytes | None, event: Mapping[str, Any], timestamp_ms: int, headers: Headers
    ) -> Decoded | None:
        """One event; ``None`` where its text has to be read after all. Raises ``Undecodable``."""
        op = event["op"]
        source: Source | None = event["source"]
        row = event["before" if op == "d" else "after"]
        if key is None or row is None or source is None or topic not in self._topics:
            return None
        table = self._tables.get(f"{source.get(self._outer)}.{source.get('table')}")
        if table is None or op not in OPS or source.get("connector") != self._word:
            return None
        plan = table.plan
        values = table.take(row)
        kind = kind_of(OPS[op], headers, plan, values)
        if kind is None:
            return IGNORE["moved"]
        trace = traced(headers) if headers else {}
        return Decoded((plan.change(values, self._envelope(kind, source, plan, timestamp_ms, trace, row)),))


def are_plain(types: EnvelopeTypes) -> bool:
    """Whether an envelope of these types is one whose parts the decoder of texts would take in any case."""
    own = types.envelope
    if not _NEEDED <= own.keys() <= _NEEDED | _UNREAD | _ENVELOPE.keys():
        return False
    plain = all(name not in own or (own[name] and own[name] <= due) for name, due in _ENVELOPE.items())
    return plain and all(found and found <= _SOURCE for found in types.source.values())
