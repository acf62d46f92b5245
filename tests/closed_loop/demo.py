"""`make loop-demo`: the closed loop on this machine, told as a story. It ends by itself; exit code 1 if it went wrong.

Starts a Kafka, a Redis, a PostgreSQL with the databases of an EHR and a CRM, a Kafka Connect with Debezium's connectors
and sinks, and the worker, with `--avro` a schema registry too; needs Java, Maven, PostgreSQL and redis-server here.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from chaos.redis_server import RedisServer
from closed_loop.forms import JSON_WITH_SCHEMA, Form, avro
from closed_loop.judge import Judge
from closed_loop.people import Scene, begin, contact
from closed_loop.postgresql import PostgreSQL, programs
from closed_loop.replay import Decided
from closed_loop.seen import see
from closed_loop.site import ClosedLoop
from closed_loop.story import Story
from integration.brokers import broker_in_java
from integration.registry import ApicurioNode

WIDTH = 34


def main() -> int:
    """Runs it; 0: all is well, 1: something is wrong, 2: something is missing here."""
    asked = argparse.ArgumentParser(prog="make loop-demo", description=__doc__.splitlines()[0])
    asked.add_argument("--seed", type=int, default=1, help="another seed is another storm")
    asked.add_argument("--without-marker", action="store_true", help="the tables have no marker column")
    asked.add_argument("--avro", action="store_true", help="all in Avro, through a schema registry")
    options = asked.parse_args()
    missing = [tool for tool in ("java", "mvn", "redis-server") if shutil.which(tool) is None]
    missing += [] if programs() else ["postgresql"]
    if missing:
        say(f"error: not here: {', '.join(missing)}: install what is missing, as `make tools` says")
        return 2
    began = monotonic()
    say("starting Kafka, Redis, PostgreSQL, Kafka Connect with Debezium, and the worker")
    folder = Path(tempfile.mkdtemp(prefix="closed-loop-"))
    try:
        with (
            broker_in_java() as bootstrap,
            RedisServer() as redis,
            PostgreSQL() as server,
            formed(folder / "registry", in_avro=options.avro) as form,
            ClosedLoop(
                bootstrap, redis.url, server, folder, begin(), marker=not options.without_marker, form=form
            ) as loop,
        ):
            story = Story(loop, options.seed, crash=not options.without_marker, tell=say)
            story.live()
            wrong = concluded(story)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say(f"\n{'something is wrong' if wrong else 'all is well'}, after {monotonic() - began:.0f} s")
    return 1 if wrong else 0


@contextmanager
def formed(folder: Path, *, in_avro: bool) -> Iterator[Form]:
    """The form of everything; Avro brings a registry."""
    if not in_avro:
        yield JSON_WITH_SCHEMA
        return
    registry = ApicurioNode(folder)
    try:
        registry.start()
        yield avro(registry)
    finally:
        registry.kill()


def concluded(story: Story) -> list[str]:
    """Tells what was decided and what both systems show; returns what is wrong."""
    judge = Judge(see(story.loop))
    say("\nhow the scenes ended")
    for scene in story.scenes:
        for line in told(story, judge, scene):
            say(line)
    wrong = [line for scene in story.scenes for line in story.ends(scene)] + judge.findings()
    say("\nwhat was counted")
    for what, number in sorted(judge.counts.items()):
        say(f"  {what:<{WIDTH}} {number:>7,}")
    before = story.loop.sent()
    story.loop.round()
    if story.loop.sent() != before:
        wrong.append("writes go on after the last edit")
    say(f"\nafter the last edit the writes stopped by themselves: {before} in all, none in a further round")
    for line in wrong:
        say(f"wrong: {line}")
    return wrong


def told(story: Story, judge: Judge, scene: Scene) -> Iterator[str]:
    """A scene: what was decided about it, and what each system shows now."""
    yield f"{scene.number:2}. {scene.title}"
    for one in judge.replay.of(contact(scene.number)):
        yield from decisions(one)
    ehr, crm = story.loop.row("ehr", scene.number), story.loop.row("crm", contact(scene.number))
    for system, row, columns in (("EHR", ehr, scene.ehr), ("CRM", crm, scene.crm)):
        yield f"      the {system} shows {', '.join(f'{column} = {shortly(row[column])}' for column in columns)}"


def decisions(one: Decided) -> Iterator[str]:
    """What became of each field of a change, but for what everything begins with."""
    for outcome in one.decision.outcomes:
        if outcome.outcome != "baseline":
            ended = f"{outcome.outcome}: {outcome.reason}" if outcome.reason else outcome.outcome
            yield f"      {one.change.system.upper()}, {one.change.actor or 'somebody'}: {outcome.field} {ended}"
    for send in one.decision.sends:
        yield f"      → {send.kind} to the {send.system.upper()}: {', '.join(sorted(send.values))}"


def shortly(value: object) -> str:
    """A value that fits a line."""
    text = "null" if value is None else str(value)
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}… ({len(text)} characters)"


def say(line: str) -> None:
    """A line at once, however stdout is kept."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
