"""Deliberate breaks of the exactly-once mechanism, each the work of a moment's inattention. The harness must see each.

A mutation replaces one text that must stand exactly once in today's source: one that drifted fails loudly instead of
mutating nothing. `mutate` plays them; this module knows nothing of runs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGE: Final = "ownership_stream"


@dataclass(frozen=True)
class Mutation:
    """`what` is broken, in one sentence; `old` becomes `new` in `file` of the package.

    `scenario` names the cheapest faults that expose it (`mutate.SCENARIOS`). `may_stall`: that the run does not come to
    its end is one of its proper symptoms; of any other mutation it proves nothing.
    """

    name: str
    what: str
    file: str
    old: str
    new: str
    scenario: str
    may_stall: bool = False

    def applied(self, text: str) -> str:
        """The file's text with the mutation in it; raises `ValueError` unless the old text stands there once."""
        times = text.count(self.old)
        if times != 1:
            raise ValueError(f"mutation `{self.name}`: its text stands {times} times in `{self.file}`, not once")
        return text.replace(self.old, self.new)

    def apply(self, src: Path) -> None:
        """Mutates a copy of the source folder; raises `ValueError` as `applied`, `SyntaxError` if it cannot compile."""
        path = src / PACKAGE / self.file
        text = self.applied(path.read_text("utf-8"))
        compile(text, str(path), "exec")
        path.write_text(text, "utf-8")


_TRANSACT: Final = """\
        self._transact(answer.result, end)
        failpoint(self.id.stage, "6-commit")
        committed = monotonic()
"""
_TRANSACTION: Final = """\
            producer.begin_transaction()
            self._produce(producer, result, Control(stand.input_id, end, stand.partitions))
            failpoint(self.id.stage, "6-produce")
            self._send_offset(producer, end)
            failpoint(self.id.stage, "6-offsets")
"""
_COUNTING: Final = """\
        began = monotonic()
        self._transact(answer.result, end)
        failpoint(self.id.stage, "6-commit")
        committed = monotonic()
        try:
            self._stand.next = end
            self._save(answer.result)
            failpoint(self.id.stage, "7-save")
        finally:
            # Committed is committed: what happened counts even if the store has to be caught up later.
            self._count(uncertain, committed - began, monotonic() - committed)
"""

MUTATIONS: Final = (
    Mutation(
        "save-before-commit",
        "The states go to Redis before the transaction commits.",
        "lane/commit.py",
        _TRANSACT,
        """\
        stand = self._stand
        if self._store is not None and stand.position is not None:
            self._store.save(stand.prefix, stand.position, stand.position, answer.result.states)
"""
        + _TRANSACT,
        "killed-in-transaction",
    ),
    Mutation(
        "offset-outside",
        "The input offset is committed in a transaction of its own, before that of the outputs.",
        "lane/commit.py",
        _TRANSACTION,
        """\
            producer.begin_transaction()
            self._send_offset(producer, end)
            self._end(producer)
            producer.begin_transaction()
            self._produce(producer, result, Control(stand.input_id, end, stand.partitions))
            failpoint(self.id.stage, "6-produce")
            failpoint(self.id.stage, "6-offsets")
""",
        "killed-in-transaction",
    ),
    Mutation(
        "no-fencing",
        "The transactional id is another one in each process, so that nobody is fenced.",
        "lane/contract.py",
        'return f"{self.app}-{lane.stage}-{lane.topic}-{lane.partition}"',
        "return f\"{self.app}-{lane.stage}-{lane.topic}-{lane.partition}-{__import__('os').getpid()}\"",
        "zombie-before-transaction",
    ),
    Mutation(
        "no-skip",
        "A batch that is run again does not begin where the lane stands.",
        "lane/commit.py",
        "            if one.offset >= begin\n",
        "            if one.offset >= batch.begin\n",
        "flushed-before-save",
    ),
    Mutation(
        "no-catch-up",
        "The lane starts at the end of its changelog, whatever Redis has.",
        "lane/standing.py",
        "return catch_up.run(prefix, held, max(held.offset, extent.start), extent.end)",
        "return catch_up.run(prefix, held, extent.end, extent.end)",
        "flushed",
    ),
    Mutation(
        "state-elsewhere",
        "States are written to the next partition of the state topic.",
        "lane/commit.py",
        "self._put(producer, Output(self._control_topic, record_id.encode(), state, [], partition), told)",
        "self._put(\n"
        "                producer,\n"
        "                Output(self._control_topic, record_id.encode(), state, [], "
        "(partition + 1) % self._stand.partitions),\n"
        "                told,\n"
        "            )",
        "undisturbed",
    ),
    Mutation(
        "read-uncommitted",
        "Workers read what no transaction has committed.",
        "transport.py",
        'consumer._isolation_level = "read_committed"',
        'consumer._isolation_level = "read_uncommitted"',
        "source-transaction-aborted",
    ),
    Mutation(
        "count-before-commit",
        "What happened is counted before the transaction commits.",
        "lane/commit.py",
        _COUNTING,
        """\
        self._count(uncertain)
        self._transact(answer.result, end)
        failpoint(self.id.stage, "6-commit")
        try:
            self._stand.next = end
            self._save(answer.result)
            failpoint(self.id.stage, "7-save")
        finally:
""",
        "zombie-before-transaction",
    ),
    Mutation(
        "blind-save",
        "Redis is written to without a look at the position that is there.",
        "store.py",
        "if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] or not redis.call('ZSCORE', KEYS[2], ARGV[1]) then",
        "if false then",
        "late-write",
    ),
    Mutation(
        "batch-dropped",
        "A lane that is created anew goes on with the next batch.",
        "lane/runner.py",
        "                self._observer.recreated(self.id, str(error))\n",
        "                self._observer.recreated(self.id, str(error))\n                batch = None\n",
        "flushed",
    ),
    Mutation(
        "shared-transactional-id",
        "Lanes of different topics share one transactional id.",
        "lane/contract.py",
        'return f"{self.app}-{lane.stage}-{lane.topic}-{lane.partition}"',
        'return f"{self.app}-{lane.stage}-{lane.partition}"',
        "undisturbed",
        may_stall=True,
    ),
    Mutation(
        "default-partitioner",
        "Apply commands go where the client's own partitioner puts them.",
        "steps.py",
        "outputs.append(Output(topics.apply[send.system], *message, where))",
        "outputs.append(Output(topics.apply[send.system], *message, -1))",
        "undisturbed",
    ),
    Mutation(
        "no-control-record",
        "The transaction carries no control record.",
        "lane/commit.py",
        "        self._put(producer, last, self._told_control)\n",
        "        del last\n",
        "undisturbed",
    ),
    Mutation(
        "unproved-load",
        "States are read from Redis without a look at the position that is there.",
        "store.py",
        "            if found[0] != packed:\n",
        "            if not found:\n",
        "flushed",
    ),
)
