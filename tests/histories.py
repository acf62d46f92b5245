"""Hypothesis strategies for the history of one record: a list of abstract steps, small choices that shrink well.

What a step comes to is ``source_rows.Clinic``'s matter. Beside single steps there are bursts that make the rare paths
frequent: quarrels of automations, writes of a lock-step group, rivals about the same evidence time.
"""

from typing import Literal

import hypothesis.strategies as st

from small_matrix import CRM, EHR
from source_rows import ACTORS, MINUTE, SOURCES, Step

GAPS = st.sampled_from([1_000, 1_000, 1_000, 4_000, 60_000])
LAGS = st.sampled_from([0, 0, 0, 500, 3_000, 20_000, 120_000, 2_000_000, -600_000])
WITHHELD = st.sampled_from([frozenset[str]()] * 12 + [frozenset({EHR}), frozenset({CRM}), frozenset({EHR, CRM})])
SOURCE = st.sampled_from([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 4])
ACTOR = st.sampled_from(range(len(ACTORS)))
CELL = st.tuples(st.integers(0, 11), st.sampled_from([0, 1, 1, 2, 2, 3, 4, 5, 8, 9]))

writes = st.builds(
    Step,
    kind=st.just("write"),
    source=SOURCE,
    cells=st.lists(CELL, min_size=1, max_size=3).map(tuple),
    actor=ACTOR,
    whole=st.booleans(),
    base=st.sampled_from(["none", "none", "current", "current", "behind", "zero", "same"]),
    reason=st.sampled_from(["none", "none", "given", "given", "other", "blank", "same"]),
    evidence=st.sampled_from(
        ["none", "now", "now", "now", "earlier", "same", "unsigned", "future", "empty", "untimed"]
    ),
    lag=LAGS,
    after=GAPS,
    withheld=WITHHELD,
)
stage_moves = st.builds(
    Step,
    kind=st.just("write"),
    source=st.sampled_from([0, 0, 1]),
    cells=st.sampled_from(
        [((0, n),) for n in range(6)] + [((1, n),) for n in range(6)] + [((0, 2), (1, 1)), ((1, 2), (2, 1))]
    ),
    actor=st.sampled_from([2, 2, 6, 5]),
    base=st.sampled_from(["none", "current"]),
    lag=LAGS,
    after=GAPS,
    withheld=WITHHELD,
)
attestations = st.builds(
    Step,
    kind=st.just("write"),
    source=SOURCE,
    actor=ACTOR,
    base=st.sampled_from(["same", "current", "none"]),
    reason=st.sampled_from(["same", "given", "other"]),
    after=GAPS,
)
echoes = st.builds(
    Step,
    kind=st.just("echo"),
    source=st.integers(0, 1),
    pick=st.integers(0, 3),
    actor=st.integers(0, 5),
    mode=st.sampled_from(
        ["plain", "plain", "marker", "marker", "coerced", "marker coerced", "person", "marker person coerced"]
    ),
    whole=st.booleans(),
    lag=LAGS,
    after=GAPS,
    withheld=WITHHELD,
)
snapshots = st.builds(
    Step,
    kind=st.just("snapshot"),
    source=SOURCE,
    cells=st.lists(CELL, max_size=3).map(tuple),
    actor=ACTOR,
    evidence=st.sampled_from(["none", "now"]),
    pick=st.integers(0, 1),
    after=GAPS,
    withheld=WITHHELD,
)
deletes = st.builds(Step, kind=st.just("delete"), source=SOURCE, after=GAPS)
repeats = st.builds(Step, kind=st.sampled_from(["duplicate", "old"]), pick=st.integers(0, 4), after=GAPS)
ticks = st.builds(
    Step,
    kind=st.just("tick"),
    after=st.sampled_from([MINUTE, 15 * MINUTE, 15 * MINUTE, 16 * MINUTE, 90 * MINUTE, 600 * MINUTE]),
    withheld=WITHHELD,
)
flows = st.builds(
    Step, kind=st.sampled_from(["pause", "resume", "resume"]), target=st.sampled_from(["", EHR, CRM]), after=GAPS
)

asks = st.builds(
    Step,
    kind=st.just("ask"),
    source=st.integers(0, 1),
    cells=st.tuples(st.tuples(st.just(0), st.sampled_from([0, 1, 1, 2, 3, 9]))),
    actor=st.sampled_from([0, 1, 2, 3, 4, 5, 2, 2, 6, 9]),
    action=st.sampled_from(
        ["accept", "accept", "keep", "keep", "set", "set", "dismiss", "link", "assign", "comment", "reveal"]
    ),
    reading=st.sampled_from(["now", "now", "now too", "before"]),
    reason=st.sampled_from(["given", "given", "given", "none", "blank"]),
    target=st.sampled_from(["medical_lead", "medical_lead", "clinical_ops", ""]),
    pick=st.integers(0, 3),
    whole=st.booleans(),
    after=GAPS,
    withheld=WITHHELD,
)

VISIT = st.integers(5, 7)
visits = st.builds(
    Step,
    kind=st.sampled_from(["write", "write", "write", "snapshot"]),
    source=VISIT,
    cells=st.sampled_from([0, 1, 1, 2]).map(lambda value: ((0, value),)),
    actor=st.sampled_from([0, 1, 4, 6, 9]),
    base=st.sampled_from(["none", "current"]),
    evidence=st.sampled_from(["now", "now", "earlier", "same", "none"]),
    rank=st.sampled_from([0, 1, 1, 2, 3]),
    after=GAPS,
)
"""A row of a table of which one speaks: written, read, or filtered out (rank 0)."""
rewrites = st.builds(
    Step, kind=st.just("rewrite"), source=st.integers(0, 1), pick=st.integers(0, 3), after=GAPS, withheld=WITHHELD
)
doubts = st.builds(
    Step,
    kind=st.sampled_from(["gap", "gap", "match", "candidate"]),
    source=SOURCE,
    pick=st.integers(0, 2),
    actor=st.integers(0, 2),
    after=GAPS,
)
"""What is the matter with the record as a whole: a row to be read again, another record that is probably the same."""

COLUMN = {source: {one: number for number, one in enumerate(source.columns)} for source in SOURCES}
"""Where a row has a column."""


def cell(
    source: int, name: str, value: int, sort: Literal["field", "compared", "request"] = "field"
) -> tuple[int, int]:
    """A cell by its field's name."""
    return COLUMN[SOURCES[source]][sort, name], value


@st.composite
def quarrels(draw: st.DrawFn) -> list[Step]:
    """Automations of both systems put their own value back each time ours lands, until the loop guard has enough."""
    name = draw(st.sampled_from(["contact_preference", "nickname", "street", "date_of_birth", "lead_source", "weight"]))
    landing = draw(st.sampled_from(["plain", "marker", "none"]))
    found: list[Step] = []
    for turn in range(draw(st.integers(3, 26))):
        source = draw(st.sampled_from([0, 1])) if name == "weight" else turn % 2
        cells = (cell(source, name, draw(st.sampled_from([1, 2, 3])) if source else 2),)
        found.append(
            Step("write", source=source, cells=cells, actor=draw(st.sampled_from([6, 6, 6, 7])), base="current")
        )
        if landing != "none":
            found.append(Step("echo", source=1 - source, mode="marker" if landing == "marker" else "plain"))
    return found


@st.composite
def groups(draw: st.DrawFn) -> list[Step]:
    """Street and city are written together, as they should be."""
    values = st.sampled_from([0, 1, 2, 2])
    found = []
    for _ in range(draw(st.integers(1, 3))):
        source = draw(st.sampled_from([0, 1]))
        cells = (cell(source, "street", draw(values)), cell(source, "city", draw(values)))
        found.append(
            Step(
                "write",
                source=source,
                cells=cells,
                actor=draw(st.sampled_from([0, 1, 4, 6, 6, 8])),
                base=draw(st.sampled_from(["current", "none", "zero"])),
                reason=draw(st.sampled_from(["given", "none"])),
            )
        )
    return found


@st.composite
def rivals(draw: st.DrawFn) -> list[Step]:
    """Completions and preferences with evidence about the same time; overrides, and owners who meet them."""
    name = draw(st.sampled_from(["follow_up", "contact_preference", "weight", "legal_name"]))
    found = []
    for _ in range(draw(st.integers(2, 5))):
        source = draw(st.sampled_from([2, 2, 3] if name == "follow_up" else [0, 1]))
        found.append(
            Step(
                "write",
                source=source,
                cells=(cell(source, name, draw(st.sampled_from([0, 1, 2, 2]))),),
                actor=draw(st.sampled_from([0, 0, 4, 5, 6])),
                base=draw(st.sampled_from(["current", "none", "zero"])),
                reason=draw(st.sampled_from(["given", "other", "none"])),
                evidence=draw(st.sampled_from(["now", "same", "same", "earlier", "none"])),
                lag=draw(st.sampled_from([0, 0, 20_000])),
            )
        )
    return found


@st.composite
def moves(draw: st.DrawFn) -> list[Step]:
    """The patient's key changes in the EHR: a create and a delete, in either order, each maybe told again."""
    old, new = draw(st.sampled_from([(1, 4), (4, 1)]))
    kind: Literal["write", "snapshot"] = draw(st.sampled_from(["write", "write", "snapshot"]))
    cells = draw(st.sampled_from([CHART.cells, CHART.cells, CHART.cells[:3]]))
    found = [Step(kind, source=new, cells=cells, actor=draw(st.sampled_from([0, 6, 9]))), Step("delete", source=old)]
    if draw(st.booleans()):
        found.reverse()
    if draw(st.booleans()):
        found.append(Step("duplicate", pick=draw(st.integers(0, 1))))
    return found


one_step = st.one_of(
    *[writes] * 7,
    *[stage_moves] * 2,
    attestations,
    *[echoes] * 3,
    snapshots,
    deletes,
    repeats,
    *[ticks] * 2,
    *[flows] * 2,
    asks,
    doubts,
    rewrites,
)
EVERY = tuple((n, 1 + n % 2) for n in range(1, 11))
ARRIVES = Step("write", source=0, cells=((0, 0), *EVERY), actor=6)
CHART = Step("write", source=1, cells=tuple((n, 1) for n in range(2, 12)), actor=0, reason="given")
LEAD = Step("write", source=0, cells=((0, 6), (1, 1), (2, 1), (3, 2), (5, 1), (6, 1), (7, 1), (8, 1)), actor=6)
INTAKE = Step("write", source=0, cells=((0, 1),), actor=6)
CARE = Step("write", source=0, cells=((0, 2),), actor=6)
LANDED = Step("echo", source=1, mode="marker")
LANDED_TOO = Step("echo", source=0, mode="marker")
SEEN_CHART = Step("snapshot", source=1, cells=tuple((n, 1) for n in range(1, 12)), actor=0)
SEEN_LEAD = Step("snapshot", source=0, cells=((0, 2), *EVERY), actor=6)
FOLLOWED = Step("write", source=2, cells=((0, 1),), actor=1, evidence="now")
PROLOGUES: list[tuple[Step, ...]] = [
    (),
    (LEAD,),
    (LEAD, CHART),
    (LEAD, CHART, LANDED, LANDED_TOO, INTAKE, LANDED),
    (LEAD, CHART, LANDED, LANDED_TOO, INTAKE, CARE, LANDED, LANDED, FOLLOWED),
    (CHART, LEAD, INTAKE, CARE),
    (SEEN_LEAD, SEEN_CHART),
    (SEEN_CHART, SEEN_LEAD, LANDED_TOO),
]


HELD = Step("write", source=0, cells=((0, 1),), actor=6, withheld=frozenset({EHR}))
ASKED = Step("write", source=1, cells=((1, 1),), actor=2)
ASKED_CARE = Step("write", source=1, cells=((1, 2),), actor=2)
FOUND = Step("snapshot", source=0, cells=((0, 1), *EVERY), actor=6)
QUARTER = Step("tick", after=15 * MINUTE)
MADE: list[tuple[Step, ...]] = [
    (LEAD, INTAKE),
    (LEAD, INTAKE),
    (LEAD, INTAKE, CARE),
    (LEAD, HELD),
    (LEAD, INTAKE, QUARTER),
    (LEAD, INTAKE, QUARTER, QUARTER),
    (FOUND, CARE),
    (FOUND,),
    (CHART, ASKED, ASKED_CARE),
    (FOLLOWED, LEAD, INTAKE),
]
"""Prologues after which the record is, or soon will be, made in the EHR or in the CRM."""

makings = st.lists(
    st.one_of(
        st.sampled_from([LANDED, LANDED_TOO, QUARTER, INTAKE, CARE, FOLLOWED, SEEN_CHART, CHART]),
        st.sampled_from([Step("delete", source=1), Step("delete", source=4), Step("resume", target=EHR)]),
        one_step,
    ),
    min_size=1,
    max_size=8,
)


OWNERS = {
    "date_of_birth": "clinical_ops", "medication_plan": "medical_lead", "care_stage": "growth_ops",
    "legal_name": "clinical_ops", "weight": "clinical_ops", "follow_up": "clinical_ops", "nickname": "support_lead",
    "contact_preference": "support_lead", "city": "support_lead", "": "medical_lead",
}  # fmt: skip
"""Fields that are made a case of, and whose it is then."""
LOOK = Step("ask", action="reveal", actor=2)


def openings(name: str, draw: st.DrawFn) -> list[Step]:
    """Steps that are likely to leave an open case of the field."""
    value = draw(st.sampled_from([0, 1, 2, 3]))
    tie: Literal["same", "future"] = draw(st.sampled_from(["same", "future"]))
    stage = draw(st.sampled_from([5, 5, 4]))
    known: dict[str, list[Step]] = {
        "": [CHART, Step("delete", source=1)],
        "care_stage": [Step("write", source=0, cells=((0, stage),), actor=6)],
        "date_of_birth": [Step("write", source=1, cells=(cell(1, "date_of_birth", 0),), actor=6)],
        "city": [Step("write", source=0, cells=(cell(0, "city", 0),), actor=6)],
        "medication_plan": [Step("write", source=1, cells=(cell(1, "medication_plan", value),), actor=1)],
        "follow_up": [
            Step("write", source=2, cells=((0, 1),), actor=0, evidence="now"),
            Step("write", source=3, cells=((0, 2),), actor=4, evidence=tie),
        ],
        "legal_name": [Step("write", source=1, cells=(cell(1, "legal_name", value),), actor=6), CARE],
    }
    if name in known:
        return known[name]
    paused = Step("pause", target=draw(st.sampled_from(["", EHR])))
    return [paused, Step("write", source=1, cells=(cell(1, name, value),), actor=6)]


@st.composite
def disputes(draw: st.DrawFn) -> list[Step]:
    """Something becomes somebody's case; they read it, perhaps something happens, and they decide it, perhaps twice."""
    name = draw(st.sampled_from(sorted(OWNERS)))
    found = [*openings(name, draw), LOOK]
    found += draw(st.lists(st.one_of(writes, writes, echoes, ticks, flows, deletes), max_size=1))
    for _ in range(draw(st.integers(1, 3))):
        ask = draw(asks)
        rightful = draw(st.integers(0, 3)) > 0
        does = st.sampled_from(["accept", "keep", "set"] if name else ["dismiss"])
        found.append(
            Step(
                "ask", source=ask.source, cells=ask.cells, withheld=ask.withheld, pick=ask.pick, whole=ask.whole,
                action=draw(does) if rightful else ask.action,
                actor=2 if rightful else ask.actor,
                reason="given" if rightful else ask.reason,
                target=draw(st.sampled_from([OWNERS[name], "medical_lead"])) if rightful else ask.target,
                reading=ask.reading,
            )
        )  # fmt: skip
        found += draw(st.lists(st.one_of(echoes, echoes, ticks, writes, flows), max_size=3))
    return found


@st.composite
def courses(draw: st.DrawFn) -> list[Step]:
    """Several rows of one table, written, read and deleted; somebody completes the follow-up elsewhere too."""
    gone = st.builds(Step, kind=st.just("delete"), source=VISIT, after=GAPS)
    other = Step("write", source=3, cells=((0, 2),), actor=4, evidence="now")
    steps = st.one_of(visits, visits, visits, gone, st.just(other), echoes, ticks)
    return draw(st.lists(steps, min_size=2, max_size=8))


@st.composite
def crashes(draw: st.DrawFn) -> list[Step]:
    """Values of one system land in the other, somebody writes there too, and the sink writes some of it again."""
    name = draw(st.sampled_from(["contact_preference", "date_of_birth", "lead_source", "legal_name"]))
    source = draw(st.integers(0, 1))
    found: list[Step] = []
    for value in draw(st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=3)):
        written = Step(
            "write", source=source, cells=(cell(source, name, value),), actor=2, base="current", reason="given"
        )
        found += [written, Step("echo", source=1 - source, mode="marker")]
    found += draw(st.lists(st.one_of(writes, attestations, ticks), max_size=2))
    found += draw(st.lists(rewrites, min_size=1, max_size=3))
    return found


bursts = st.one_of(
    *[st.lists(one_step, min_size=1, max_size=6)] * 4, quarrels(), groups(), rivals(), moves(), crashes(), courses(),
    *[disputes()] * 2,
)  # fmt: skip


@st.composite
def histories(draw: st.DrawFn, most: int = 6, *, making: bool = False) -> tuple[Step, ...]:
    """A history: a prologue (nothing, a lead, a patient in care, two snapshots), then bursts of anything.

    ``making``: it begins where the record is about to be made in a system.
    """
    prologue = draw(st.sampled_from(MADE if making else PROLOGUES))
    first = draw(makings) if making else []
    rest = draw(st.lists(bursts, min_size=0 if making else 1, max_size=2 if making else most))
    return (*prologue, *first, *(step for burst in rest for step in burst))
