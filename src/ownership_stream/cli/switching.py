"""What `pause` and `resume` share: the same control event for one record, for some, or for all."""

from collections.abc import Iterable, Sequence
from time import time
from typing import Literal

from ownership_stream.cli import Session
from ownership_stream.cli.asking import Person, reads
from ownership_stream.commands import ChangeWriter, new_id
from ownership_stream.errors import BadInputError
from ownership_stream.identity import partition_of
from ownership_stream.lane import LaneConfig
from ownership_stream.looking import look
from ownership_stream.matrix.compile import load
from ownership_stream.model import Change
from ownership_stream.settings import librdkafka_config
from ownership_stream.telemetry import hash_id, hash_key
from ownership_stream.wire.avro_wire import wire_of


def switch(
    session: Session, kind: Literal["pause", "resume"], said: Sequence[str], *, system: str, everything: bool,
    person: Person, reason: str | None,
) -> None:  # fmt: skip
    """Write the control event for each of these records and say how many; it takes effect when its lane gets there."""
    settings = session.settings
    if bool(said) == everything:
        raise BadInputError("give either RECORDS or `--every-record`")
    reads(system, load(settings.matrix_path).systems, "system")
    key, at = hash_key(settings.hash_key), int(time() * 1000)
    config = LaneConfig(app=settings.app_id, client=librdkafka_config(settings))
    writer = ChangeWriter(config, settings.topic_changes, wire_of(settings))
    with look(settings) as looker:
        records: Iterable[str] = (
            (one.record for one in looker.states())
            if everything
            else dict.fromkeys(looker.find(one, lambda record: hash_id(key, record)) for one in said)
        )
        written = writer.put(
            (
                Change(id=new_id(), record=record, kind=kind, system=system, at=at, actor=person.actor,
                       origin="person", reason=reason),
                partition_of(record, settings.partitions),
            )
            for record in records
        )  # fmt: skip
    session.emit({kind: written}, lambda: f"{written} records will {kind}")
