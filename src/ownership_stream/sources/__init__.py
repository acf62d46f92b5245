"""Sources: records of change-data-capture topics as changes, by a mapping document for each source.

The intake step uses it so::

    mapping = sources.load(path, matrix)                            # raises MatrixError: every mistake with its place
    decode = sources.decoder(mapping, matrix, epoch=settings.source_epoch.get(mapping.source, 0)).decode
    try:
        decoded = decode(topic, key, value, timestamp_ms, headers)  # Decoded(changes, ignored)
    except sources.Undecodable as error:                            # the only exception; error.reason is in REASONS
        ...                                                         # wire.dead_letter(...)

``decoded.changes`` are the row's changes, none if the record is ignored by design: then ``decoded.ignored`` is a key
of ``IGNORED``, to be counted. Decoders are pure (no clock, no I/O) and may be shared by threads. The way back, from a
field to the columns of an apply record, is ``Writer``. ``load_all`` reads a folder, and gives the columns that the
matrix's lint asks for.

- ``compile.py`` a document to a ``Mapping``; ``grammar.py`` the language of its columns; ``check.py`` its mistakes as a
  whole; ``words.py`` and ``schema.py`` its words;
- ``mapping.py`` the compiled mapping and its reverse; ``encodings.py`` how columns write values;
- ``rows.py`` one table's rows as changes, ``standing.py`` which of several speaks; ``guard.py`` JSON from outside;
- ``sample.py`` real records beside their mapping, ``opened.py`` and ``shapes.py`` what they are, ``advice.py`` what to
  do about it;
- ``debezium.py``, ``salesforce.py``, ``canonical.py`` the envelopes, ``flattened.py`` rows without one;
  ``databases.py`` and ``events.py`` what Debezium says beside a row; ``unavailable.py`` its placeholder;
- ``result.py`` what decoding can end in.
"""

from collections.abc import Callable
from typing import Final, Protocol

from ownership_stream.matrix.compiled import Matrix
from ownership_stream.sources.canonical import CanonicalDecoder
from ownership_stream.sources.compile import MappingDocument, load, load_all, load_document
from ownership_stream.sources.debezium import DebeziumDecoder
from ownership_stream.sources.events import cautions
from ownership_stream.sources.flattened import FlattenedDecoder
from ownership_stream.sources.guard import Headers
from ownership_stream.sources.mapping import DEBEZIUM, Connector, Mapping, Writer, bound
from ownership_stream.sources.result import IGNORED, REASONS, Decoded, NeedsReread, Undecodable
from ownership_stream.sources.salesforce import SalesforceDecoder

__all__ = [
    "IGNORED",
    "REASONS",
    "Decoded",
    "Decoder",
    "Mapping",
    "MappingDocument",
    "NeedsReread",
    "Undecodable",
    "Writer",
    "bound",
    "cautions",
    "decoder",
    "load",
    "load_all",
    "load_document",
]


def _debezium(mapping: Mapping, matrix: Matrix, epoch: int) -> "Decoder":
    return (FlattenedDecoder if mapping.form == "flattened" else DebeziumDecoder)(mapping, matrix, epoch)


_DECODERS: Final[dict[Connector, Callable[[Mapping, Matrix, int], "Decoder"]]] = {
    **dict.fromkeys(DEBEZIUM, _debezium),
    "salesforce": SalesforceDecoder,
    "canonical": CanonicalDecoder,
}


class Decoder(Protocol):
    """Turns the records of one source's topics into changes."""

    def decode(
        self, topic: str, key: bytes | None, value: bytes | None, timestamp_ms: int, headers: Headers = ()
    ) -> Decoded:
        """The changes of one record, or why there are none; raises ``Undecodable`` and nothing else."""
        ...


def decoder(mapping: Mapping, matrix: Matrix, *, epoch: int = 0) -> Decoder:
    """The decoder of a mapping's connector. ``epoch`` comes first in every position (setting ``source_epoch``)."""
    return _DECODERS[mapping.connector](mapping, matrix, epoch)
