"""A demo from its first line to its exit: starts everything, draws, drains, adds up.

The order at the end matters: the clinic stops editing, what is under way comes to rest, and only then is counted.
"""

import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic, time
from typing import Final, NamedTuple

from rich.console import Console
from rich.live import Live

from ownership_stream.assembly import homes_of, topics_of
from ownership_stream.demo.clinic import Clinic
from ownership_stream.demo.pages import PagesThread
from ownership_stream.demo.plan import SEVEN, Plan
from ownership_stream.demo.stack import Stack, WorkerThread
from ownership_stream.demo.summary import Tally, checks, lines
from ownership_stream.demo.systems import simulated
from ownership_stream.demo.view import Frame, View
from ownership_stream.demo.watch import COUNTED, Picture, Watch
from ownership_stream.desk import Office
from ownership_stream.errors import OwnershipError
from ownership_stream.links import seat_of
from ownership_stream.matrix.compile import load_document
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.settings import Settings
from ownership_stream.sources import decoder
from ownership_stream.telemetry import hash_id, hash_key, only_log_lines

FRAME_SECONDS: Final = 0.5
SENTENCE_SECONDS: Final = 0.6
PLAIN_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.1
DRAIN_SECONDS: Final = 30.0
REST_SECONDS: Final = 1.0
"""For how long nothing may move before the stream is at rest: on a busy machine counts are late themselves."""
BEHIND: Final = 200
"""Records on their way at which the clinic waits: a slow machine is given less to do."""
RATE_FRAMES: Final = 10


class Options(NamedTuple):
    """What the user asked for. ``seconds`` 0: until Ctrl-C. ``rate``: things that happen in the clinic a second."""

    seconds: float = 0.0
    seed: int = 1
    rate: float = 60.0
    fake_redis: bool = False


def run(given: Settings, options: Options, console: Console, program: str) -> Tally:
    """Runs the demo and returns what it counted. Raises the ``OwnershipError`` that ended it early.

    ``program``: how the user calls `ownership-stream`, for the lines that say what else can be asked.
    """
    stop = threading.Event()
    with ExitStack() as exits:
        exits.enter_context(_interruptible(stop))
        stack = exits.enter_context(Stack(given, fake_redis=options.fake_redis))
        for check, why in stack.waived.items():
            console.print(f"not checked here: {check}: {why}", style="dim", highlight=False, soft_wrap=True)
        exits.enter_context(only_log_lines())
        demo = Demo(stack, options, console, program)
        exits.callback(demo.close)
        try:
            demo.open()
            demo.play(stop)
            demo.drain()
        except OwnershipError:
            for line in stack.log_tail():
                console.print(line, style="dim", markup=False, highlight=False, soft_wrap=True)
            raise
        tally = demo.tally()
        conclude(tally, stack.assembly.matrix, console)
        return tally


@contextmanager
def _interruptible(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the demo in order; a second Ctrl-C at once."""

    def ask(number: int, frame: object) -> None:
        del frame
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Demo:
    """The parts of a demo at work."""

    def __init__(self, stack: Stack, options: Options, console: Console, program: str) -> None:
        parts = stack.assembly
        key = hash_key(stack.settings.hash_key)
        topics = topics_of(stack.settings, parts.matrix)
        self._stack, self._options, self._console, self._program = stack, options, console, program
        self._topics = topics
        self._systems = simulated(parts.mappings, parts.matrix)
        self._worker = WorkerThread(parts)
        office = Office(stack.settings, parts.matrix, stack.looker, stack.broker)
        self._pages = PagesThread(office, load_document(stack.settings.matrix_path))
        self._clinic = Clinic(
            parts.matrix, self._systems, Plan(options.seed), stack.client, apply_topics=topics.apply,
            partitions=topics.partitions, rate=options.rate,
        )  # fmt: skip
        self._watch = Watch(
            parts.matrix, parts.mappings, topics, stack.client, telemetry=parts.telemetry, looker=stack.looker,
            hashed=lambda record: hash_id(key, record),
        )  # fmt: skip
        self._view = View(parts.matrix)
        self._began = monotonic()
        self._ended = 0.0
        self._totals: deque[tuple[float, int]] = deque(maxlen=RATE_FRAMES)

    # ------------------------------------------------------------------------------------------------ its life

    def open(self) -> None:
        """Starts the worker; the clinic opens when it is ready."""
        self._worker.start()
        self._pages.start()
        self._watch.open()
        self._began = monotonic()
        for hint in self._hints():
            self._console.print(hint, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Ends every thread."""
        self._pages.stop()
        self._clinic.close()
        self._watch.close()
        self._worker.stop()

    def play(self, stop: threading.Event) -> None:
        """Shows what happens until the time is over or the user has seen enough."""
        until = self._began + self._options.seconds if self._options.seconds else float("inf")
        if self._console.is_terminal:
            with Live(
                self._view, console=self._console, screen=True, auto_refresh=False, redirect_stderr=False
            ) as live:
                self._draw(live, self._frame("starting", Picture.blank()))
                self._loop(stop, until, FRAME_SECONDS, lambda frame: self._draw(live, frame))
        else:
            self._loop(stop, until, PLAIN_SECONDS, self._print)

    def _loop(self, stop: threading.Event, until: float, pause: float, show: Callable[[Frame], None]) -> None:
        told = drawn = 0.0
        while not stop.is_set() and monotonic() < until:
            self._raise()
            now = monotonic()
            if not self._clinic.is_open and not self._worker.waiting_for:
                self._clinic.open()
            if now - told >= SENTENCE_SECONDS:
                told = now
                sentence = self._watch.latest()
                if sentence is not None:
                    self._view.tell(sentence)
            self._clinic.held = self._behind() > BEHIND
            if now - drawn >= pause:
                drawn = now
                state = "the clinic waits for the stream" if self._clinic.held else "at work"
                show(self._frame(state, self._watch.picture()))
            stop.wait(min(LOOK_SECONDS, max(0.0, until - now)))

    def _behind(self) -> int:
        """Records of the two systems, and changes made of them, that are not settled yet."""
        processed = self._watch.samples(("records_processed_total",))["records_processed"]
        read, decided = _sum(processed, "intake"), _sum(processed, "decide")
        sent, on_changes = sum(self._clinic.books.sent.values()), self._watch.records[self._topics.changes]
        return sent - read + on_changes - decided

    def _draw(self, live: Live, frame: Frame) -> None:
        self._view.show(frame)
        live.refresh()

    def _print(self, frame: Frame) -> None:
        for line in self._view.plain(frame):
            self._console.print(line, highlight=False, soft_wrap=True)

    def _raise(self) -> None:
        """Raises the error of a part that broke."""
        for error in (self._worker.error, self._clinic.error, self._watch.error):
            if error is not None:
                if isinstance(error, OwnershipError):
                    raise error
                raise OwnershipError(f"a part of the demo ended: {type(error).__name__}") from error

    # ------------------------------------------------------------------------------------------------ what is shown

    def _frame(self, state: str, picture: Picture) -> Frame:
        now = monotonic()
        decided = picture.total("records_processed", "decide")
        self._totals.append((now, decided))
        (since, first) = self._totals[0]
        rate = (decided - first) / (now - since) if now > since else 0.0
        waiting = self._worker.waiting_for
        hints = self._hints()
        return Frame(
            picture, now - self._began, rate, self._clinic.patients, waiting or state, hints, int(time() * 1000)
        )

    def _hints(self) -> tuple[str, ...]:
        worker = self._worker.worker
        address = f"http://{self._stack.settings.http_host}:{worker.http_port if worker is not None else 0}"
        told = self._view.last_named or "#hash"
        return (
            f"decide what waits: {self._pages.url}   metrics: {address}/metrics   Ctrl-C ends it",
            f"why? in another terminal: {self._stack.environment} \\",
            f"  {self._program} explain '{told}'",
        )

    # ------------------------------------------------------------------------------------------------ the end

    def drain(self) -> None:
        """Nobody edits any more; returns when everything that was under way has come to rest.

        Raises ``OwnershipError`` if it does not within ``DRAIN_SECONDS``.
        """
        self._ended = monotonic()
        self._clinic.stop_editing()
        deadline = monotonic() + DRAIN_SECONDS
        before: tuple[int, ...] | None = None
        since = monotonic()
        pause = threading.Event()
        while True:
            self._raise()
            counts = self._counts()
            if counts != before:
                before, since = counts, monotonic()
            elif self._at_rest(counts) and monotonic() - since >= REST_SECONDS:
                return
            if monotonic() > deadline:
                raise OwnershipError(f"the stream did not come to rest within {DRAIN_SECONDS:.0f} s: {counts}")
            pause.wait(LOOK_SECONDS)

    def _counts(self) -> tuple[int, ...]:
        """(sent, read, on the changes topic, decided, sends, on apply topics, taken, sightings, matched, idle)."""
        samples = self._watch.samples()
        books = self._clinic.books
        idle = self._clinic.idle
        return (
            sum(books.sent.values()),
            _sum(samples["records_processed"], "intake"),
            self._watch.records[self._topics.changes],
            _sum(samples["records_processed"], "decide"),
            _sum(samples["sends"]),
            sum(self._watch.records[topic] for topic in self._topics.apply.values()),
            sum(books.landed.values()),
            self._watch.records[self._topics.matches],
            _sum(samples["records_processed"], "match"),
            idle,
        )

    def _at_rest(self, counts: tuple[int, ...]) -> bool:
        sent, read, on_changes, decided, sends, approved, taken, sightings, matched, idle = counts
        settled = sent == read and on_changes == decided and sightings == matched
        return bool(idle) and settled and sends == approved == taken

    def tally(self) -> Tally:
        """Everything that was counted, once the stream is at rest."""
        picture = self._watch.picture(COUNTED)
        outcomes: Counter[str] = Counter()
        for labels, number in picture.samples["outcomes"].items():
            outcomes[labels[0]] += int(number)
        attempts: dict[str, Counter[str]] = {}
        for labels, number in picture.samples["write_attempts"].items():
            if number:
                attempts.setdefault(labels[0], Counter())[labels[1]] += int(number)
        whys: Counter[str] = Counter()
        for (_, _, why), number in picture.disagreeing.items():
            whys[why] += number
        sent, read, on_changes, decided, sends, approved, taken, *_ = self._counts()
        return Tally(
            seconds=self._ended - self._began,
            sent=sent,
            read=read,
            changes=picture.total("changes"),
            ignored=picture.total("records_ignored"),
            unreadable=picture.total("dead_letters", "intake"),
            on_changes=on_changes,
            forwarded=self._watch.forwarded,
            others=self._watch.others,
            decided=decided,
            undecidable=picture.total("dead_letters", "decide"),
            carried=self._watch.carried,
            outcomes=outcomes,
            attempts=attempts,
            sends=sends,
            approved=approved,
            taken=taken,
            cases=len(picture.cases),
            disagreeing=whys,
            astray=self._astray(),
        )

    def _astray(self) -> int:
        """Fields whose row, read anew through its mapping, shows something else than its record's state says."""
        parts = self._stack.assembly
        homes = homes_of(parts.mappings)
        states = {one.record: one.state for one in self._stack.looker.states()}
        astray = 0
        for mapping in parts.mappings:
            decode = decoder(mapping, parts.matrix).decode
            system = self._systems[mapping.system]
            for key in system.rows:
                event = system.snapshot(key, int(time() * 1000))
                [change] = decode(event.topic, event.key, event.value, 0).changes
                found = seat_of(homes, states, mapping.system, change.key, change.record)
                shown = {} if found is None else found[1].shown
                carried = {**change.fields, **change.compared}
                astray += sum(shown.get(name) != value for name, value in carried.items())
        return astray


def conclude(tally: Tally, matrix: Matrix, console: Console) -> None:
    """Prints the summary, and what does not add up in it."""
    console.print()
    for line in lines(tally, {name: matrix.fields[name].label for name in SEVEN}):
        console.print(line, highlight=False, soft_wrap=True)
    found = checks(tally)
    for check in found:
        if not check.holds:
            console.print(f"does not add up: {check}", style="bold red", highlight=False, soft_wrap=True)
    if all(check.holds for check in found):
        console.print(f"the counts add up: {len(found)} checks", style="green", highlight=False)


def _sum(series: dict[tuple[str, ...], float], *labels: str) -> int:
    return int(sum(value for key, value in series.items() if key[: len(labels)] == labels))
