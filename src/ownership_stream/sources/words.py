"""The vocabulary of a source mapping: each key with what it means, in one place.

The loader accepts these words, the JSON Schema offers them to editors. Knows nothing of YAML.
"""

from typing import Final

from ownership_stream.matrix.words import Key

TOP: Final[dict[str, Key]] = {
    "source": Key("the source's name: first part of its rows' names, and key of the settings about it"),
    "system": Key("the matrix's system that the rows come from, and that its apply records go to"),
    "connector": Key("what writes the topics"),
    "topics": Key("the topics to read"),
    "tables": Key("the tables whose rows hold fields"),
    "actors": Key("who the writers are: role and origin by the actor's id", required=False),
    "roles": Key("who the writers are: role and origin by the word in the `role` column", required=False),
    "ignored tables": Key("tables on the same topics that mean nothing here", required=False),
    "own client": Key("what our own writer calls itself to Salesforce: its events are no person's", required=False),
    "form": Key("how rows come: `envelope` as Debezium writes them, or `flattened`", required=False),
    "added prefix": Key("`add.fields.prefix` of a flattened source, if it was changed", required=False),
    "without position": Key(
        "how rows are ordered whose position was left out: `record timestamp`, or not at all", required=False
    ),
    "servers": Key(
        "MySQL and MariaDB: the `server_id`s whose binlogs the positions are of; another's events are refused",
        required=False,
    ),
    "apply as": Key("how apply records for the system are written, if not as the setting `wire` says", required=False),
    "unavailable value": Key("Debezium's `unavailable.value.placeholder`, if it was changed", required=False),
}
TABLE: Final[dict[str, Key]] = {
    "primary": Key("whether this row's existence is the record's presence in the system", required=False),
    "key": Key("the columns of the row's key"),
    "of": Key("in a table that is not primary: the columns that hold the primary row's key", required=False),
    "record": Key("whose record a row is: `key`, or a column and else the record's default name"),
    "speaks": Key("of several rows of one record, the one whose values are the record's", required=False),
    "columns": Key("column: the field it holds; a write there is a write of the field", required=False),
    "compared": Key("column: the field it shows, only compared and never a write", required=False),
    "requests": Key("column: the field it asks to change, without showing it", required=False),
    "actor": Key(
        "the column that names the last writer; `commitUser` for Salesforce; for Oracle also `source.user_name`",
        required=False,
    ),
    "role": Key("the column that says the writer's role in the source's own words", required=False),
    "updated at": Key("the column that moves with every write: it makes the actor fresh", required=False),
    "reason": Key("the column of the override reason", required=False),
    "base version": Key("the column of the record version that the writer had seen", required=False),
    "marker": Key("the column that takes our change id with what we write", required=False),
    "evidence": Key("field: the columns that back it, by the names the matrix gives them", required=False),
    "ignored": Key("columns that mean nothing here; any other unmapped column is an error", required=False),
}
RECORD: Final[dict[str, Key]] = {
    "column": Key("the column that holds the shared record id"),
    "else": Key("the record's name while that column is null, as in `ehr:<key>`", required=False),
}
SPEAKS: Final[dict[str, Key]] = {
    "where": Key("column: the words, one of which it must hold; `empty` or `filled` for any", required=False),
    "latest by": Key("the column, or columns, whose greatest value speaks: a time, a date or a whole number"),
}
WHO: Final[dict[str, Key]] = {
    "always": Key("the word to note whenever there is a time: the column is set by them alone", required=False),
    "actor": Key("the writer, if they have one of these roles", required=False),
}
ACTORS: Final[dict[str, Key]] = {
    "persons": Key('id, or its beginning and `*`: the role, or "none"', required=False),
    "automations": Key('id, or its beginning and `*`: the role, or "none"', required=False),
}
USES: Final = {"columns": "input", "compared": "compared", "requests": "request"}

KEY_ITSELF: Final = "key"
COMMIT_USER: Final = "commitUser"
USER_NAME: Final = "source.user_name"
RECORD_TIMESTAMP: Final = "record timestamp"
NO_ROLE: Final = "none"
EMPTY: Final = "empty"
FILLED: Final = "filled"
PLACE_OF_KEY: Final = "<key>"
AS: Final = " as "
ANY_END: Final = "*"
