"""What Debezium's source block says for each database: whose table it is, where the event stands, who wrote it.

A table of readers, one for each connector; an envelope and a flattened row are read by the same ones. A position orders
the changes of one row, which is all that is asked of it (docs/rules.md, section 2, step 1): every number in it has to
grow with each later change of that row, and one that does not is left out, because an older position is dropped as a
repeat, while an equal one with another content passes in the order of arrival. Formats: Debezium's documentation of
each connector, "Data change events"; docs/sources/debezium.md says what was left out, and why.
"""

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeGuard

from ownership_stream.sources.mapping import Connector

Source = dict[str, Any]
"""The source block of an event, or what a flattened row carries of it."""
Placed = tuple[tuple[int, ...], str]
"""A position, the source epoch first, and the same as the source's version in text."""

MAX_POSITION: Final = 2**63 - 1
SNAPSHOT: Final = frozenset(
    {True, "true", "first", "first_in_data_collection", "last_in_data_collection", "last", "incremental"}
)
LIVE: Final = frozenset({False, "false", None})

_SEQUENCE: Final = re.compile(r'\[\s*(?:null|"(\d{1,19})")\s*,\s*(?:null|"(\d{1,19})")\s*\]', re.ASCII)
_BINLOG: Final = re.compile(r".{0,255}\.(\d{1,10})", re.ASCII)
_LSN: Final = re.compile(r"([0-9a-f]{8}):([0-9a-f]{8}):([0-9a-f]{4})", re.ASCII | re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d{1,19}", re.ASCII)


class Database(NamedTuple):
    """How the source block of one connector is read."""

    word: str
    """What ``source.connector`` says."""
    outer: str
    """The key of what stands before the table's name: its schema, or its database."""
    place: Callable[[Source, int], Placed | None]
    """(source block, source epoch) -> the event's place in the source's order, ``None`` if it does not say it."""
    unplaced: str
    """What is said of an event that does not."""
    added: tuple[str, ...]
    """What the place is made of, as ``add.fields`` names it."""
    others: tuple[str, ...]
    """What else the source block holds: a flattened row may carry it, and it means nothing."""
    tied: bool = False
    """Whether two changes of a row can share a position, so that their content must tell them apart."""
    writer: str = ""
    """The key that names the database's user who wrote, where there is one."""


def _postgresql(source: Source, epoch: int) -> Placed | None:
    """``sequence``, a JSON text ``["<last commit LSN>", "<LSN>"]``: the LSN alone is not ordered across transactions.

    Where it holds no commit LSN, or there is none, the LSN stands for both.
    """
    sequence, lsn = source.get("sequence"), source.get("lsn")
    found = _SEQUENCE.fullmatch(sequence) if isinstance(sequence, str) else None
    first, second = found.groups() if found else (None, None)
    own = int(second) if second else lsn
    commit = int(first) if first else own
    own = commit if own is None else own
    if not _is_position(commit) or not _is_position(own):
        return None
    return (epoch, commit, own), f"{epoch}:{commit}:{own}"


def _binlog(source: Source, epoch: int) -> Placed | None:
    """The number of the binlog file, and the event's place in it.

    Not ``row``: within a compressed transaction all events have one place, and the rows of each begin at 0 again.
    """
    file, place = source.get("file"), source.get("pos")
    found = _BINLOG.fullmatch(file) if isinstance(file, str) else None
    if found is None or not _is_position(place):
        return None
    return (epoch, int(found[1]), place), f"{epoch}:{int(found[1])}:{place}"


def _sqlserver(source: Source, epoch: int) -> Placed | None:
    """The commit LSN, three groups of hexadecimal digits.

    Not ``change_lsn``: SQL Server's own documentation says of it that it orders nothing within a transaction, and what
    does (``__$command_id``) is not in the source block. So not ``event_serial_no`` either, which counts within it.
    """
    found = source.get("commit_lsn")
    groups = _LSN.fullmatch(found) if isinstance(found, str) else None
    if groups is None:
        return None
    file, block, slot = (int(group, 16) for group in groups.groups())
    return (epoch, file, block, slot), f"{epoch}:{file}:{block}:{slot}"


def _oracle(source: Source, epoch: int) -> Placed | None:
    """The SCN of the commit, the SCN of the change, and its number in the transaction where the connector counts.

    A snapshot has its one SCN. Any other event needs its commit's: a change made before a snapshot and committed after
    it would else be older than what the snapshot read.
    """
    scn, commit = _whole(source.get("scn")), _whole(source.get("commit_scn"))
    if commit is None and source.get("snapshot") in SNAPSHOT:
        commit = scn
    if commit is None:
        return None
    own, number = commit if scn is None else scn, _whole(source.get("txSeq")) or 0
    return (epoch, commit, own, number), f"{epoch}:{commit}:{own}:{number}"


_COMMON: Final = ("version", "connector", "name", "db", "table", "ts_us", "ts_ns")
_MYSQL: Final = Database(
    word="mysql",
    outer="db",
    place=_binlog,
    unplaced="`source.file` and `source.pos` give no position",
    added=("source.file", "source.pos"),
    others=(*_COMMON, "server_id", "gtid", "row", "thread", "query", "sequence"),
    tied=True,
)

DATABASES: Final[dict[Connector, Database]] = {
    "debezium postgresql": Database(
        word="postgresql",
        outer="schema",
        place=_postgresql,
        unplaced="neither `source.sequence` nor `source.lsn` gives a position",
        added=("source.sequence", "source.lsn"),
        others=(*_COMMON, "schema", "txId", "xmin", "origin", "origin_lsn"),
    ),
    "debezium mysql": _MYSQL,
    "debezium mariadb": _MYSQL._replace(word="mariadb"),
    "debezium sqlserver": Database(
        word="sqlserver",
        outer="schema",
        place=_sqlserver,
        unplaced="`source.commit_lsn` gives no position",
        added=("source.commit_lsn",),
        others=(*_COMMON, "schema", "sequence", "change_lsn", "event_serial_no"),
        tied=True,
    ),
    "debezium oracle": Database(
        word="oracle",
        outer="schema",
        place=_oracle,
        unplaced="`source.commit_scn` and `source.scn` give no position",
        added=("source.commit_scn", "source.scn", "source.txSeq"),
        others=(
            *(*_COMMON, "schema", "sequence", "txId", "lcr_position", "rs_id", "ssn", "redo_thread", "redo_sql"),
            *("row_id", "start_scn", "start_ts_ms", "commit_ts_ms"),
        ),
        tied=True,
        writer="user_name",
    ),
}
"""The reader of each connector's source block."""


def _whole(number: object) -> int | None:
    """A whole number as JSON or as text, if it can be part of a position."""
    if isinstance(number, str) and _NUMBER.fullmatch(number):
        number = int(number)
    return number if _is_position(number) else None


def _is_position(found: object) -> TypeGuard[int]:
    return type(found) is int and 0 <= found <= MAX_POSITION
