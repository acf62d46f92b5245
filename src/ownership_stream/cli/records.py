"""`ownership-stream records`: people say which records are the same person, and which are not."""

from collections.abc import Callable
from getpass import getuser
from time import time
from typing import Any, Literal

import click

from ownership_stream.cli import Session, pass_session, setting_flags
from ownership_stream.commands import ChangeWriter, new_id
from ownership_stream.errors import BadInputError
from ownership_stream.identity import BadId, checked, partition_of
from ownership_stream.links import DOUBTS
from ownership_stream.looking import look
from ownership_stream.model import Change, Identity, identity_of

Word = Literal["link", "confirm", "unlink"]


@click.group("records")
def command() -> None:
    """Say which records are the same person.

    A RECORD is a record id: a contact's, or `ehr:<key>` for the patient with that key. What is said here is a change
    like any other: it is decided in the records' own order, and stands on `ownership.resolutions` with who said it
    and why.
    """


def _said(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--reason", required=True, metavar="TEXT", help="Why: it is kept, so name no patient."),
        click.option("--actor", default=getuser, metavar="WHO", show_default="you", help="Who says it."),
        setting_flags("brokers", "app_id", "partitions"),
    ):
        function = option(function)
    return pass_session(function)


@command.command("link")
@click.argument("record")
@click.argument("other")
@_said
def link(session: Session, record: str, other: str, *, reason: str, actor: str) -> None:
    """Make two records one: RECORD and OTHER are the same person.

    Their histories are merged into the smaller record. Where their birth dates differ both stand still instead, until
    somebody says `confirm` or `unlink`.
    """
    _say(session, "link", record, other, reason, actor)


@command.command("confirm")
@click.argument("record")
@click.argument("other")
@_said
def confirm(session: Session, record: str, other: str, *, reason: str, actor: str) -> None:
    """Answer a doubt: RECORD and OTHER are the same person, whatever speaks against it.

    Where RECORD's link has changed, this says which record it belongs to: the one before, or the one it names now.
    """
    _say(session, "confirm", record, other, reason, actor)


@command.command("unlink")
@click.argument("record")
@_said
def unlink(session: Session, record: str, *, reason: str, actor: str) -> None:
    """Answer a doubt, or undo a link: RECORD is a person of its own.

    A history that was merged is split: each side keeps what its own rows showed. Critical values that came from the
    other side and are still shown become cases.
    """
    _say(session, "unlink", record, "", reason, actor)


@command.command("show")
@click.argument("record")
@setting_flags("brokers", "app_id", "partitions")
@pass_session
def show(session: Session, record: str) -> None:
    """Show what is known of whose RECORD is: where it moved, what was merged into it, what is in doubt."""
    with look(session.settings) as looker:
        state = looker.state(record)
        if state is None:
            raise BadInputError(f"no record `{record}`: give its record id, or `ehr:<key>` for a patient's")
        identity = identity_of(state)
    page = {
        "record": record,
        "moved": identity.moved,
        "merged": sorted(identity.merged),
        "denied": sorted(identity.denied),
        "no_duplicates": sorted(identity.apart),
        "doubts": dict(sorted(identity.doubts.items())),
        "keys": {system: seat.key for system, seat in sorted(state.systems.items())},
    }
    session.emit(page, lambda: _text(record, identity))


def _text(record: str, identity: Identity) -> str:
    lines = [f"`{record}` belongs to `{identity.moved}`" if identity.moved else f"`{record}` is a record of its own"]
    lines += [f"merged into it: `{one}`" for one in sorted(identity.merged)]
    lines += [f"said not to be the same: `{one}`" for one in sorted(identity.denied)]
    lines += [f"said to be no duplicate: `{one}`" for one in sorted(identity.apart)]
    lines += [f"in doubt with `{one}`: {DOUBTS.get(why, why)}" for one, why in sorted(identity.doubts.items())]
    return "\n".join(lines)


def _say(session: Session, word: Word, record: str, other: str, reason: str, actor: str) -> None:
    for one in (record, *([other] if word != "unlink" else [])):
        try:
            checked(one)
        except BadId as error:
            raise BadInputError(f"a record id cannot be `{one}`: it is {error}") from None
    if record == other:
        raise BadInputError(f"`{record}` and `{other}` are one record already: give two")
    if not reason.strip():
        raise BadInputError("`--reason` is blank: say why, it is kept with the decision")
    settings = session.settings
    change = Change(
        id=new_id(), record=record, kind=word, other=other, at=int(time() * 1000), actor=actor,
        origin="person", reason=reason.strip(),
    )  # fmt: skip
    ChangeWriter.of(settings).put([(change, partition_of(record, settings.partitions))])
    session.emit(
        {"change": change.id, "kind": word, "record": record, "other": other},
        lambda: f"said; `ownership-stream records show {record}` shows what came of it",
    )
