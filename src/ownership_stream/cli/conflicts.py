"""`ownership-stream conflicts`: the open cases, what is known of each, and what a person decides about them."""

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from itertools import islice
from time import time
from typing import Any, Final

import click
import msgspec
from rich.console import Console
from rich.table import Table

from ownership_stream.cli import Session, pass_session, setting_flags
from ownership_stream.cli.asking import as_person, at_desk, ids_of, reads
from ownership_stream.desk import Desk, Person
from ownership_stream.errors import BadInputError, CheckFailedError, ExitCode
from ownership_stream.matrix.compiled import Field, Matrix
from ownership_stream.matrix.normalise import NotCanonical, normalise
from ownership_stream.model import Ask, Value
from ownership_stream.outcomes import CASE_REASONS
from ownership_stream.queue import Open, View, Wanted, answer_in_words, hashed_edition, until
from ownership_stream.wire import Resolution, rfc3339

LIMIT: Final = 50
WAIT_SECONDS: Final = 30.0
DONE: Final = frozenset({"accepted", "kept", "set", "dismissed", "linked", "assigned", "commented"})
FLAGS: Final = ("brokers", "app_id", "partitions", "matrix_path", "sources_path")
HOUR: Final = 3_600_000


def _filters(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--owner", default="", help="Only cases of this escalation owner."),
        click.option("--field", default=None, help="Only of this field; `record` for cases of a record as a whole."),
        click.option("--system", default="", help="Only those in which this system has a part."),
        click.option("--reason-of-case", "why", default=None, type=click.Choice(sorted(CASE_REASONS)), metavar="REASON",
                     help="Only cases that wait for this reason."),
        click.option("--assigned", default=None, help="Only those assigned to this person; empty: to nobody."),
        click.option("--due", default=None, type=click.FloatRange(0), metavar="HOURS",
                     help="Only those due within so many hours; 0: overdue."),
    ):  # fmt: skip
        command = option(command)
    return command


def _reveals(command: Callable[..., Any]) -> Callable[..., Any]:
    text = "Show values of patients; that they were shown is written down with your name."
    return click.option("--reveal", is_flag=True, help=text)(command)


@click.group("conflicts")
def command() -> None:
    """List, show and decide open cases.

    A CASE is named by its id, as `list` prints it. Values are masked unless revealed.
    """


@command.command("list")
@_filters
@click.option("--limit", default=LIMIT, show_default=True, type=click.IntRange(1), help="How many at most.")
@_reveals
@as_person(role=False)
@ids_of
@setting_flags(*FLAGS)
@pass_session
def list_cases(session: Session, /, *, limit: int, reveal: bool, person: Person, ids: bool, **said: Any) -> None:
    """List open cases, what is due first, first."""
    with at_desk(session, person, ids=ids) as desk:
        chosen = list(islice(desk.cases(_wanted(desk.matrix, **said)), limit))
        views = _shown(desk, chosen, reveal=reveal, choices=False)
    rows = [msgspec.to_builtins(view) for view in views]
    session.emit({"cases": rows}, lambda: _table(views))


@command.command("show")
@click.argument("case")
@_reveals
@as_person(role=False)
@ids_of
@setting_flags(*FLAGS)
@pass_session
def show(session: Session, *, case: str, reveal: bool, person: Person, ids: bool) -> None:
    """Show a case: what stands where, who proposed what, and what each choice would send where."""
    with at_desk(session, person, ids=ids) as desk:
        [view] = _shown(desk, desk.find([case]), reveal=reveal, choices=True)
    session.emit(msgspec.to_builtins(view), lambda: "\n".join(_page(desk.matrix, view)))


@command.command("export")
@_filters
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated, without proposals; otherwise JSON lines.")
@_reveals
@as_person(role=False)
@ids_of
@setting_flags(*FLAGS)
@pass_session
def export(session: Session, /, *, as_csv: bool, reveal: bool, person: Person, ids: bool, **said: Any) -> None:
    """Write all open cases to stdout, one in a line."""
    with at_desk(session, person, ids=ids) as desk:
        cases = desk.cases(_wanted(desk.matrix, **said))
        if as_csv:
            click.echo(",".join(COLUMNS))
        while some := list(islice(cases, LIMIT)):
            for view in _shown(desk, some, reveal=reveal, choices=False):
                click.echo(_csv(view) if as_csv else msgspec.json.encode(view).decode())


@command.command("resolve")
@click.argument("cases", nargs=-1)
@click.option("--accept", "accepted", default="", metavar="SYSTEM", help="Take the value that this system proposes.")
@click.option("--keep", "kept", is_flag=True, help="Keep the current value, and send it where another is shown.")
@click.option("--set", "value", default=None, metavar="VALUE", help='Set this value; of parts, JSON as `{"dose": …}`.')
@click.option("--clear", is_flag=True, help="Set no value.")
@click.option("--dismiss", is_flag=True, help="A record's own case is none: no duplicate, a deletion that was meant.")
@click.option("--link", "linked", is_flag=True, help="The record is the same person as the one that waits in its case.")
@click.option("--other", default="", metavar="RECORD", help="With `--link`: which one, where several wait in the case.")
@click.option("--reason", default=None, help="Why; critical fields ask for it.")
@click.option("--edition", default="", help="The case's edition as it was read: only that one is decided.")
@_filters
@click.option("--dry-run", is_flag=True, help="Say what would be sent where, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask before cases chosen by filters are decided.")
@click.option("--wait", default=WAIT_SECONDS, show_default=True, type=click.FloatRange(0), metavar="SECONDS",
              help="How long to wait for the answers.")  # fmt: skip
@as_person()
@ids_of
@setting_flags(*FLAGS)
@pass_session
def resolve(
    session: Session, /, *, cases: Sequence[str], accepted: str, kept: bool, value: str | None, clear: bool,
    dismiss: bool, linked: bool, other: str, reason: str | None, edition: str, dry_run: bool, yes: bool, wait: float,
    person: Person, ids: bool, **said: Any,
) -> int:  # fmt: skip
    """Decide CASES, or those chosen by filters: all alike, each by an event of its own.

    Each is decided as it stands when this reads it, or not at all: one that changes before its turn is answered
    `changed meanwhile`. Exit code 3 if any was refused or had changed, 5 if an answer did not come in time: it may
    still come.
    """
    with at_desk(session, person, ids=ids) as desk:
        wanted = _wanted(desk.matrix, **said)
        if bool(cases) == (wanted != Wanted()):
            raise BadInputError("give either CASES or filters: `--owner`, `--field`, `--system`, `--due`, …")
        asked = _action(accepted, kept=kept, value=value, clear=clear, dismiss=dismiss, linked=linked, other=other)
        chosen = desk.find(cases) if cases else list(desk.cases(wanted))
        if edition:
            _check_edition(desk, chosen, edition)
        asks = [(one, _filled(desk.matrix, asked, one, value)) for one in chosen]
        plan = [_planned(desk, one, ask, reason) for one, ask in asks]
        if dry_run:
            session.emit({"plan": plan}, lambda: "\n".join(map(_plan_line, plan)) or "nothing to decide")
            return ExitCode.OK
        if not cases:
            _confirm(plan, yes=yes)
        answers = desk.ask(asks, reason, wait)
    return _answered(session, desk, chosen, answers)


@command.command("assign")
@click.argument("case")
@click.argument("to", required=False, default="")
@click.option("--wait", default=WAIT_SECONDS, show_default=True, type=click.FloatRange(0), metavar="SECONDS",
              help="How long to wait for the answer.")  # fmt: skip
@as_person()
@ids_of
@setting_flags(*FLAGS)
@pass_session
def assign(session: Session, *, case: str, to: str, wait: float, person: Person, ids: bool) -> int:
    """Ask somebody (TO, nobody if left out) to look after a CASE. It stays its owner's, and its deadline stays."""
    return _one(session, person, case, Ask(case="", action="assign", to=to), None, wait, ids=ids)


@command.command("comment")
@click.argument("case")
@click.argument("text")
@click.option("--wait", default=WAIT_SECONDS, show_default=True, type=click.FloatRange(0), metavar="SECONDS",
              help="How long to wait for the answer.")  # fmt: skip
@as_person(role=False)
@ids_of
@setting_flags(*FLAGS)
@pass_session
def comment(session: Session, *, case: str, text: str, wait: float, person: Person, ids: bool) -> int:
    """Write down TEXT about a CASE, with the resolutions."""
    return _one(session, person, case, Ask(case="", action="comment"), text, wait, ids=ids)


def _one(session: Session, person: Person, case: str, ask: Ask, reason: str | None, wait: float, *, ids: bool) -> int:
    with at_desk(session, person, ids=ids) as desk:
        chosen = desk.find([case])
        answers = desk.ask([(one, ask) for one in chosen], reason, wait)
    return _answered(session, desk, chosen, answers)


def _wanted(
    matrix: Matrix, *, owner: str, field: str | None, system: str, why: str | None, assigned: str | None,
    due: float | None,
) -> Wanted:  # fmt: skip
    field = "" if field == "record" else field
    reads(owner, matrix.escalations, "escalation owner")
    reads(field or "", matrix.fields, "field")
    reads(system, matrix.systems, "system")
    by = 0 if due is None else int(time() * 1000 + due * HOUR)
    return Wanted(owner, field, system, why or "", assigned, by)


def _shown(desk: Desk, chosen: Sequence[Open], *, reveal: bool, choices: bool) -> list[View]:
    """The cases as they are shown. That values are is written down first, or they are not."""
    if reveal:
        desk.tell([(one, Ask(case="", action="reveal")) for one in chosen], None)
    return [desk.view(one, show_values=reveal, choices=choices) for one in chosen]


def _action(
    accepted: str, *, kept: bool, value: str | None, clear: bool, dismiss: bool, linked: bool, other: str
) -> Ask:
    """The one action that was asked for; a value is read when its field is known."""
    named = {
        "accept": bool(accepted), "keep": kept, "set": value is not None or clear, "dismiss": dismiss, "link": linked,
    }  # fmt: skip
    found = [action for action, there in named.items() if there]
    if len(found) != 1 or (clear and value is not None):
        raise BadInputError(
            "say one thing to do: `--accept SYSTEM`, `--keep`, `--set VALUE`, `--clear`, `--dismiss` or `--link`"
        )
    if other and not linked:
        raise BadInputError("`--other` says which record to link: give it with `--link`")
    return msgspec.convert({"case": "", "action": found[0], "system": accepted, "to": other}, Ask)


def _filled(matrix: Matrix, ask: Ask, one: Open, raw: str | None) -> Ask:
    """With the value in the form of the case's field."""
    field = matrix.fields.get(one.case.field)
    if ask.action != "set" or raw is None or field is None:
        return ask
    return msgspec.structs.replace(ask, value=_value(field, raw))


def _value(field: Field, raw: str) -> Value:
    try:
        return normalise(field, msgspec.json.decode(raw.encode()) if field.type == "parts" else raw)
    except NotCanonical as error:
        raise BadInputError(f"`--set` has no value of `{field.name}`: {error.reason}") from None
    except msgspec.DecodeError:
        parts = ", ".join(field.parts)
        raise BadInputError(f'`--set` is no JSON: `{field.name}` has parts ({parts}), give `{{"part": …}}`') from None


def _check_edition(desk: Desk, chosen: Sequence[Open], said: str) -> None:
    if len(chosen) != 1:
        raise BadInputError("`--edition` is of one case: name that one")
    if desk.key is None:
        raise BadInputError("`--edition` needs the setting `hash_key`: without one editions have no name")
    if hashed_edition(chosen[0], desk.key) != said:
        raise CheckFailedError("the case was changed since it was read: see `conflicts show`, then decide")


def _planned(desk: Desk, one: Open, ask: Ask, reason: str | None) -> dict[str, Any]:
    """What one ask would come to now: its answer, and which systems are sent the field."""
    decision = desk.preview(one, ask, reason)
    answer = decision.answer
    sends = {send.system: send.kind for send in decision.sends if one.case.field in send.values}
    return {
        "case": one.case.id,
        "record": desk.name(one.record),
        "field": one.case.field,
        "answer": answer.outcome if answer else "failed",
        "reason": answer.reason if answer else "",
        "sends": sends,
    }


def _plan_line(row: dict[str, Any]) -> str:
    sends = ", ".join(row["sends"]) or "nobody"
    answer = f"{row['answer']}: {row['reason']}" if row["reason"] else row["answer"]
    return f"{row['case']}  {row['record']}  {answer}, sent to {sends}"


def _confirm(plan: Sequence[dict[str, Any]], *, yes: bool) -> None:
    if yes or not plan:
        return
    if not sys.stdin.isatty():
        raise BadInputError(f"{len(plan)} cases would be decided: confirm with `--yes`, or look with `--dry-run`")
    for row in plan:
        click.echo(_plan_line(row), err=True)
    click.confirm(f"decide {len(plan)} cases?", abort=True, err=True)


def _answered(session: Session, desk: Desk, chosen: Sequence[Open], answers: Sequence[Resolution | None]) -> int:
    """Say each answer, and end by the worst of them."""
    rows = [
        {
            "case": one.case.id,
            "record": desk.name(one.record),
            "field": one.case.field,
            "answer": answer.outcome if answer else None,
            "reason": answer.answer if answer else "",
            "sentence": answer_in_words(desk.matrix, one, answer.outcome, answer.answer)
            if answer
            else "no answer in time: it is in the log, and decided as soon as a worker gets there",
        }
        for one, answer in zip(chosen, answers, strict=True)
    ]
    session.emit({"answers": rows}, lambda: "\n".join(map(_answer_line, rows)) or "nothing to decide")
    if any(answer is not None and answer.outcome not in DONE for answer in answers):
        return ExitCode.PROBLEMS
    return ExitCode.INCOMPLETE if None in answers else ExitCode.OK


def _answer_line(row: dict[str, Any]) -> str:
    answer = f"{row['answer']}: {row['reason']}" if row["reason"] else row["answer"] or "unanswered"
    return f"{row['case']}  {answer}  {row['sentence']}"


COLUMNS: Final = (
    "case", "edition", "record", "field", "label", "reason", "owner", "assigned", "opened", "due", "escalated",
    "joined", "critical", "version", "sentence", "advice",
)  # fmt: skip


def _csv(view: View) -> str:
    line = StringIO()
    said = [getattr(view, name) for name in COLUMNS]
    values = [rfc3339(value) if name in ("opened", "due") else value for name, value in zip(COLUMNS, said, strict=True)]
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()


def _table(views: Sequence[View]) -> str:
    if not views:
        return "no open case"
    now = int(time() * 1000)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("due", "owner", "field", "reason", "assigned", "record", "case"):
        table.add_column(name, overflow="fold")
    for view in views:
        late = view.due <= now
        due = f"[red]{until(view.due - now)}[/red]" if late else until(view.due - now)
        what = view.field or (f"(record in the {view.label})" if view.label else "(record)")
        table.add_row(due, view.owner, what, view.reason, view.assigned, view.record, view.case)
    console = Console(highlight=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip()


def _page(matrix: Matrix, view: View) -> Iterator[str]:
    """A case in lines."""
    now = int(time() * 1000)
    yield f"case {view.case}" + (f"  edition {view.edition}" if view.edition else "")
    yield f"  {view.sentence}" + (f"; {view.advice}" if view.advice else "")
    owner = matrix.escalations.get(view.owner)
    yield f"  waits for {owner.name if owner else view.owner}, due {until(view.due - now)} ({rfc3339(view.due)})"
    if view.assigned:
        yield f"  assigned to {view.assigned}"
    yield f"  record {view.record}, opened {rfc3339(view.opened)}, joined {view.joined}, escalated {view.escalated}"
    if view.field:
        yield f"  current {_text(view.current)} (version {view.version})"
    for side in view.systems:
        state = "has not the record" if not side.present else "agrees" if side.agrees else "disagrees"
        expected = "" if side.agrees else f", should show {_text(side.expected)}"
        yield f"  {side.name:8} shows {_text(side.shows)}{expected}: {state}{', under way' if side.waiting else ''}"
    for one in view.proposals:
        stands = "" if one.stands else ", stands there no longer"
        by = f"{one.role or one.origin} at {rfc3339(one.at)}{stands}"
        yield f"  proposed {_text(one.value)} in {one.system} by {by}"
    for choice in view.choices:
        sends = ", ".join(matrix.systems[system] for system in choice.sends) or "nobody"
        what = f" {choice.system}: {_text(choice.value)}" if choice.system else ""
        yield f"  can      --{choice.action}{what}, sent to {sends}"


def _text(value: Value) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{part} {piece}" for part, piece in value.items() if piece is not None) or "nothing"
    return "nothing" if value is None else str(value)
