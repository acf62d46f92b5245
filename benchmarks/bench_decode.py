"""Decode and map one row by each format, in one run, as a ratio to the bare library's decode of the same bytes.

The row is the tests' patient in an envelope of Debezium: JSON beside `orjson.loads` (msgspec's where it is not there),
Avro beside fastavro's schemaless decode. The best of several rounds counts. Targets: JSON no more than 2x, Avro 1.3x.
"""

from collections.abc import Callable
from io import BytesIO
from timeit import repeat
from typing import Any

import fastavro
import msgspec

from avro_kit import EhrTopic
from ownership_stream import sources
from ownership_stream.wire.avro import _plain
from source_kit import EHR, EHR_TOPIC, MATRIX, ehr_event, packed

try:
    from orjson import loads
except ImportError:  # it is a peer of the benchmarks, and in no lock of the tests
    loads = msgspec.json.decode

ROUNDS, CALLS = 15, 2_000


def best(call: Callable[[], Any]) -> float:
    """Microseconds of one call."""
    return min(repeat(call, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


def main() -> None:
    """Print each format's cost, its bare decode, and how many times that it is."""
    topic, plain = EhrTopic(), sources.decoder(EHR, MATRIX)
    text, framed = packed(ehr_event()), topic.event(ehr_event())
    schema = fastavro.parse_schema(_plain(topic.schema), {})
    rows: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
        ("json", lambda: plain.decode(EHR_TOPIC, b"{}", text, 0), lambda: loads(text)),
        (
            "avro",
            lambda: topic.decoder.decode(EHR_TOPIC, topic.key, framed, 0),
            lambda: fastavro.schemaless_reader(BytesIO(framed[5:]), schema, None),
        ),
    ]
    print(f"{'format':8}{'decode and map':>18}{'bare decode':>16}{'ratio':>8}")
    for name, mapped, bare in rows:
        ours, theirs = best(mapped), best(bare)
        print(f"{name:8}{ours:15.1f} us{theirs:13.1f} us{ours / theirs:8.2f}")


if __name__ == "__main__":
    main()
