"""`ownership-stream explain`: what a record's fields hold, who wrote them under which rule, and its last decisions."""

from collections import deque
from collections.abc import Iterator
from itertools import chain

import click
import msgspec
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from ownership_stream.assembly import documents, homes_of
from ownership_stream.cli import Session, pass_session, setting_flags
from ownership_stream.errors import BadInputError
from ownership_stream.explain import Standing, Told, case_in_words, stand, tell
from ownership_stream.looking import look
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.matrix.reading import nearest
from ownership_stream.model import RecordState
from ownership_stream.settings import Mode
from ownership_stream.slots import about, is_own
from ownership_stream.telemetry import hash_id, hash_key

LAST = 20
QUIET = frozenset({"noop", "replay", "echo", "baseline"})


@click.command("explain")
@click.argument("record")
@click.argument("field", required=False)
@click.option("--values", is_flag=True, help="Show the values of the patient's fields; they are masked otherwise.")
@click.option("--last", default=LAST, show_default=True, type=click.IntRange(1), help="How many decisions to tell.")
@click.option("--all", "everything", is_flag=True, help="Tell of echoes, replays, baselines and unchanged values too.")
@setting_flags("brokers", "app_id", "partitions", "matrix_path", "sources_path")
@pass_session
def command(session: Session, record: str, field: str | None, *, values: bool, last: int, everything: bool) -> None:
    """Say why a record is as it is: values with their provenance, open cases, disagreements, last decisions.

    RECORD is a record id, or `#` and the beginning of its hash as the demo and the logs show it. FIELD narrows it to
    one field of the matrix. Decisions are made again from the record's changes, as far back as the log goes, by the
    matrix of today.
    """
    settings = session.settings
    matrix, mappings = documents(settings)
    if field is not None and field not in matrix.fields:
        raise BadInputError(f"the matrix has no field `{field}`{nearest(field, matrix.fields)}")
    homes = homes_of(mappings)
    key = hash_key(settings.hash_key)
    withheld = frozenset(matrix.systems) if settings.mode is Mode.OBSERVE else frozenset[str]()
    with look(settings) as looker:
        found = looker.find(record, lambda one: hash_id(key, one))
        state = looker.state(found)
        if state is None:
            raise BadInputError(f"no record `{record}`")
        standing = stand(matrix, state, show_values=values, withheld=withheld)
        fields = [one for one in standing if field in (None, one.field)]
        decisions = tell(matrix, looker.changes(found), field=field, withheld=withheld, homes=homes)
        told = deque((one for one in decisions if everything or one.outcome not in QUIET), maxlen=last)
    page = Page(found, state.version, _stage(state), _cases(matrix, state), fields, list(told))
    session.emit(msgspec.to_builtins(page), lambda: _text(matrix, page))


class Page(msgspec.Struct, frozen=True):
    """What is said of a record; ``cases`` are those of the record as a whole, in words."""

    record: str
    version: int
    stage: str
    cases: list[str]
    fields: list[Standing]
    decisions: list[Told]


def _stage(state: RecordState) -> str:
    return state.stages[-1][1] if state.stages else "not known"


def _cases(matrix: Matrix, state: RecordState) -> list[str]:
    care_started = state.care_started is not None
    told = []
    for name, case in sorted(state.cases.items()):
        if is_own(name):
            system = matrix.systems.get(about(name))
            words = case_in_words(matrix, case, care_started=care_started)
            told.append(f"{system}: {words}" if system else words)
    return told


def _text(matrix: Matrix, page: Page) -> str:
    console = Console(highlight=False)
    about = f"  version {page.version}, care stage {page.stage}"
    head = [Text.assemble(("record ", "dim"), (page.record, "bold"), (about, "dim"))]
    head += [Text(f"→ {case}", "yellow") for case in page.cases]
    decisions = [_decision(matrix, one) for one in page.decisions]
    none = Text("no decision in the log that changed or refused anything", "dim")
    fields = chain.from_iterable(map(_field, page.fields))
    title = Text("last decisions, oldest first", "bold")
    with console.capture() as capture:
        console.print(Group(*head, Text(), *fields, Text(), title, *(decisions or [none])))
    return capture.get().rstrip()


def _field(one: Standing) -> Iterator[RenderableType]:
    """A field in a few lines: its value, where that came from, and what is the matter with it."""
    value = "none" if one.value is None else _value(one.value)
    yield Text.assemble((one.field, "bold"), f"  {value}  ", (f"owner {one.owner}, rule {one.rule}", "dim"))
    if one.version:
        origin = (
            f"version {one.version}",
            one.time,
            one.writer,
            one.grant,
            one.evidence and f"evidence {one.evidence}",
        )
        yield _indented(Text(", ".join(word for word in origin if word), "dim"))
    for note in (*one.disagreeing, *([one.case] if one.case else [])):
        yield _indented(Text(f"→ {note}", "yellow"))


def _indented(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, 2))


def _value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(str(part) for part in value.values() if part is not None)
    return str(value)


def _decision(matrix: Matrix, one: Told) -> Text:
    colour = {"applied": "green", "rejected": "red", "queued": "yellow", "failed": "red"}.get(one.outcome, "dim")
    ending = f"{one.outcome}: {one.reason}" if one.reason else one.outcome
    sent = ", ".join(matrix.systems[system] for system in one.sent_to)
    return Text.assemble(
        (f"{one.time}  ", "dim"),
        f"{matrix.systems.get(one.system, one.system)}, {one.writer}, {one.field}: ",
        (ending, colour),
        f": {one.sentence}",
        (f" (stage {one.stage or 'not known'}, rule {one.rule}{f', sent to {sent}' if sent else ''})", "dim"),
    )
