"""The pages: what people see of the queue, a case, a record and the matrix; nobody answers here (test_web_asks.py)."""

import re
from collections.abc import Iterator, Sequence

import pytest

from ownership_stream.store import MemoryStore
from ownership_stream.web.work import PAGE
from queue_kit import BEN, CIM, DOB, three
from source_kit import MATRIX
from step_kit import DecideLane, row
from web_kit import GRACE, IDA, OMAR, RITA, Answer, Visitors, office_on, served

CASES = {"clinical_ops": "c-2:date_of_birth", "medical_lead": "c-3:medication_plan", "growth_ops": "c-1:care_stage"}
DOSE = f"/cases/{CASES['medical_lead']}"
SECRETS = ("850 mg", "500 mg", "metformin", DOB, BEN, CIM, "nurture")


@pytest.fixture(scope="module")
def visit() -> Iterator[Visitors]:
    """Three cases: a dose (an hour), a birth date (four hours), a stage (a day)."""
    lane = DecideLane()
    lane.decide(*three())
    with served(office_on(lane)) as visitors:
        yield visitors


def rows(answer: Answer) -> list[str]:
    """The cases of a page of the queue, by their links."""
    return re.findall(r'class="open" href="/cases/([^"]+)"', answer.text)


def linked(*owners: str) -> list[str]:
    """The links of these owners' cases."""
    return [CASES[owner].replace(":", "%3A") for owner in owners]


# ------------------------------------------------------------------------------------------------ the queue


def test_the_queue_shows_what_is_due_first_first_and_no_values(visit: Visitors) -> None:
    """Whose it is and why in a sentence, how late it is, its record by its hash."""
    page = visit().get("/?owner=")
    assert linked("medical_lead", "clinical_ops", "growth_ops") == rows(page)
    assert "no rightful writer has attested" in page.words
    assert "late" in page.words
    assert re.search(r"#[0-9a-f]{8}", page.words)
    assert not [word for word in SECRETS if word in page.text]


def test_who_has_one_role_sees_first_what_waits_for_them(visit: Visitors) -> None:
    """A lead's morning; the others are one click away."""
    assert linked("clinical_ops") == rows(visit(IDA).get("/"))
    assert linked("growth_ops") == rows(visit(GRACE).get("/"))
    assert 3 == len(rows(visit(RITA).get("/")))
    assert 3 == len(rows(visit(("both@clinic.example", "clinical_ops,medical_lead")).get("/")))


@pytest.mark.parametrize(
    ("query", "owners"),
    [
        ("owner=medical_lead", ["medical_lead"]),
        ("owner=&field=care_stage", ["growth_ops"]),
        ("owner=&field=record", []),
        ("owner=&reason=clear", ["clinical_ops"]),
        ("owner=&system=crm", ["growth_ops"]),
        ("owner=&assigned=me", []),
        ("owner=&assigned=nobody&late=yes", ["medical_lead", "clinical_ops", "growth_ops"]),
    ],
)
def test_the_queue_is_filtered(visit: Visitors, query: str, owners: list[str]) -> None:
    """By owner, field, system, reason, person and lateness; the clock of the tests is long past all deadlines."""
    assert linked(*owners) == rows(visit().get(f"/?{query}"))


@pytest.mark.parametrize(
    "query", ["owner=boss", "field=shoe_size", "reason=bored", "after=nonsense", "after=1-2", "after=x-y-z"]
)
def test_a_filter_that_means_nothing_is_said_so(visit: Visitors, query: str) -> None:
    """400 in words, and not an empty queue."""
    assert 400 == visit().get(f"/?{query}").status


def test_a_long_queue_comes_in_pages_that_leave_nothing_out() -> None:
    """Every case once, in order, each page as long as the first."""
    lane = DecideLane()
    for number in range(2 * PAGE + 7):
        lane.decide(row(f"r{number}", 0, "crm", {"care_stage": "nurture"}, "growth_ops", op="c"))
    with served(office_on(lane)) as visit:
        seen, path, lengths = [], "/?owner=growth_ops", []
        while path:
            page = visit(RITA).get(path)
            found = re.search(r'class="next" href="([^"]+)"', page.text)
            path = found[1].replace("&amp;", "&") if found else ""
            lengths.append(len(rows(page)))
            seen += rows(page)
        assert [PAGE, PAGE, 7] == lengths
        assert 2 * PAGE + 7 == len(set(seen))
        assert [f"r{number}-crm-0%3Acare_stage" for number in range(2 * PAGE + 7)] == seen


def test_an_empty_queue_says_so() -> None:
    """And no table."""
    with served(office_on(DecideLane())) as visit:
        page = visit().get("/")
        assert "Nothing waits here." in page.words
        assert "<table" not in page.text


# ------------------------------------------------------------------------------------------------ a case


def test_a_case_shows_both_sides_and_what_each_choice_sends_where(visit: Visitors) -> None:
    """Masked, and all the same with which part differs: that is where to look."""
    page = visit(OMAR).get(DOSE)
    assert "The EHR owns “Medication plan” and shows a value that no rightful writer has attested" in page.words
    assert 1 == len(re.findall(r'<dd class="differs', page.text)), "the dose alone differs"
    assert "•••" in page.words
    assert "Take what the EHR has: dose •••, drug •••, status ••• sent to nobody" in page.words
    assert "Keep the current value: dose •••, drug •••, status ••• sent to EHR" in page.words
    assert "The case was opened" in page.words
    assert not [word for word in SECRETS if word in page.text]


@pytest.mark.parametrize(("who", "may"), [(OMAR, True), (IDA, False), (GRACE, False), (RITA, False)])
def test_only_the_escalation_owner_is_given_the_form(visit: Visitors, who: tuple[str, str], may: bool) -> None:
    """The others are told whose it is."""
    page = visit(who).get(DOSE)
    assert may == ('name="action"' in page.text)
    assert may != ("Only Medical Lead, or who is above in the chain, decides this case." in page.words)


def test_who_is_above_in_the_chain_is_given_the_form_too(visit: Visitors) -> None:
    """Clinical Ops' cases are the Medical Lead's next."""
    assert 'name="action"' in visit(OMAR).get(f"/cases/{CASES['clinical_ops']}").text


@pytest.mark.parametrize("path", ["", "/reveal", "/assign", "/comment", "/record"])
def test_who_may_only_read_asks_nothing_and_sees_no_value(visit: Visitors, path: str) -> None:
    """Not by a form of their own making either."""
    answer = visit(RITA).post(f"{DOSE}{path}", {"action": "keep", "reason": "r", "edition": "e", "comment": "c"})
    assert 403 == answer.status
    assert not [word for word in SECRETS if word in answer.text]
    assert "Show the values" not in visit(RITA).get(DOSE).words


def test_a_case_that_is_not_open_is_not_there(visit: Visitors) -> None:
    """404 in words."""
    page = visit().get("/cases/c-99:email")
    assert 404 == page.status
    assert "no open case has that id" in page.words.lower()


def test_a_case_is_decided_as_it_was_read_or_shown_again(visit: Visitors) -> None:
    """Nothing is asked of the lanes: there is no broker here that could take it."""
    page = visit(OMAR).post(DOSE, {"action": "keep", "reason": "mistyped", "edition": "0" * 16})
    assert 409 == page.status
    assert "The case changed while you read it" in page.words
    assert "mistyped" in page.text, "what they wrote is kept"
    assert 400 == visit(OMAR).post(DOSE, {"action": "keep", "reason": "mistyped"}).status


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"action": ""}, "choose one of the answers"),
        ({"action": "accept:lab"}, "choose one of the answers"),
        ({"action": "set", "value.dose": " "}, "give a value of `Medication plan`"),
        ({"action": "set", "value.dose": "x" * 5000}, "longer than 4096"),
    ],
)
def test_what_cannot_be_read_is_said_with_the_form_as_it_was(visit: Visitors, form: dict[str, str], words: str) -> None:
    """422, before anything is asked."""
    edition = visit(OMAR).get(DOSE).hidden("edition")
    page = visit(OMAR).post(DOSE, {**form, "edition": edition, "reason": "kept words"})
    assert 422 == page.status
    assert words in page.words
    assert "kept words" in page.text


def test_a_reason_beyond_all_measure_is_refused(visit: Visitors) -> None:
    """Ten thousand characters are no reason."""
    edition = visit(OMAR).get(DOSE).hidden("edition")
    assert 400 == visit(OMAR).post(DOSE, {"action": "keep", "edition": edition, "reason": "x" * 10_000}).status
    assert 413 == visit(OMAR).post(DOSE, {"action": "keep", "edition": edition, "reason": "x" * 100_000}).status


@pytest.mark.parametrize("body", [b"ticket=%ff%fe", b"\xff\xfe=1"])
def test_a_form_that_cannot_be_read_is_no_error_of_ours(visit: Visitors, body: bytes) -> None:
    """403 or 400, never 500."""
    said = {
        "Content-Type": "application/x-www-form-urlencoded; charset=utf-8",
        "Origin": "https://ownership.example.org",
    }
    assert visit().ask("POST", DOSE, data=body, headers=said).status in (400, 403)


# ------------------------------------------------------------------------------------------------ what others wrote

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
TURNED = "safe\u202egnp.exe\u0007"


def test_what_others_wrote_is_shown_and_never_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of writers, reasons, values: marks are text, writing that turns round is made visible, long texts fold."""
    lane = DecideLane()
    came = {"event": ("actor", "reason"), "reason": "y" * 2000}
    lane.decide(
        row(CIM, 0, "crm", {"legal_name": {"family": EVIL, "given": TURNED}}, EVIL, op="c", id="c-1", **came),
        row(CIM, 1, "crm", {"legal_name": {"family": "Roe", "given": "Ann"}}, TURNED),
    )
    with served(office_on(lane)) as visit:
        work = visit.server.site.work
        monkeypatch.setattr(work, "reveal", lambda one, _actor: work.view(one, show_values=True))  # no broker to tell
        page = visit(IDA).post("/cases/c-1:legal_name/reveal")
    assert 200 == page.status
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page.text
    assert "safe⟨U+202E⟩gnp.exe" in page.words
    assert "<details" in page.text
    assert not [bad for bad in ("<script>", "<img", "\u202e", "\u0007") if bad in page.text]
    assert not re.search(r"<style|<[^>]*\s(style|on\w+)=|javascript:", page.text), (
        "nothing that the policy would have to allow"
    )


@pytest.mark.parametrize(
    "path", [f"/matrix?q={EVIL}", f"/?owner={EVIL}", f"/cases/{EVIL.replace('/', '')}", f"/try?field={EVIL}"]
)
def test_an_address_is_not_obeyed_either(visit: Visitors, path: str) -> None:
    """What stands in it comes back as text or not at all."""
    assert "<script>alert" not in visit().get(path).text


def test_a_name_that_is_markup_is_a_name(visit: Visitors) -> None:
    """The proxy's word for a person is somebody's text too."""
    page = visit((EVIL, "clinical_ops")).get("/")
    assert 200 == page.status
    assert "<script>alert" not in page.text


# ------------------------------------------------------------------------------------------------ a record


def test_a_record_shows_where_each_value_came_from(visit: Visitors) -> None:
    """Version, time, writer, grant and rule; masked."""
    page = visit(IDA).get(f"{DOSE}/record")
    assert "provider (provider, person)" in page.words
    assert "owner: provider in ehr" in page.words
    assert "rule owner wins" in page.words
    assert not [word for word in SECRETS if word in page.text]


def test_a_record_is_found_by_its_id_which_is_in_no_address(visit: Visitors) -> None:
    """By a form; what is no record is said to be none."""
    page = visit().post("/record", {"record": f" {CIM} "})
    assert 200 == page.status
    assert "Medication plan" in page.words
    assert 404 == visit().post("/record", {"record": "__breaker"}).status
    assert 404 == visit().post("/record", {"record": ""}).status


# ------------------------------------------------------------------------------------------------ the matrix


def test_the_matrix_is_searched_and_every_cell_explained(visit: Visitors) -> None:
    """By words in any order; with the owner at a stage."""
    page = visit().get("/matrix")
    assert len(MATRIX.fields) == len(re.findall(r'class="open" href="/matrix/', page.text))
    found = visit().get("/matrix?q=provider+MEDICATION")
    assert ["medication_plan"] == re.findall(r'class="open" href="/matrix/([^"]+)"', found.text)
    assert "No field has these words." in visit().get("/matrix?q=shoe").words
    name = visit().get("/matrix?q=legal&stage=in_care").words
    assert "At stage in_care." in name
    assert 400 == visit().get("/matrix?stage=nowhere").status
    assert 404 == visit().get("/matrix/shoe_size").status


@pytest.mark.parametrize("name", sorted(MATRIX.fields))
def test_each_field_has_a_page_in_words(visit: Visitors, name: str) -> None:
    """Who may write it, which way it flows, what its rule means, who decides."""
    page = visit().get(f"/matrix/{name}")
    assert 200 == page.status
    field = MATRIX.fields[name]
    assert field.label in page.words
    assert MATRIX.escalations[field.escalation].name in page.words


def test_what_would_happen_is_said_in_words(visit: Visitors) -> None:
    """Nothing is written; what was filled in stays."""
    form = {
        "field": "medication_plan", "system": "ehr", "role": "nurse", "stage": "in_care", "origin": "person",
        "current": "drug: metformin\ndose: 500 mg", "value": "drug: metformin\ndose: 850 mg", "seen": "yes",
    }  # fmt: skip
    page = visit(RITA).post("/try", form, on="/try")
    assert 200 == page.status
    assert "rejected: owner policy" in page.words
    assert "it may be changed by provider in the EHR" in page.words
    assert "dose: 850 mg" in page.text
    provider = visit(RITA).post("/try", {**form, "role": "provider"}, on="/try")
    assert "applied" in provider.words
    assert "Sent to nobody" in provider.words, "the CRM shows drug and status, and they stay"


@pytest.mark.parametrize(
    "form",
    [{}, {"field": "email", "system": "lab"}, {"field": "email", "system": "crm", "role": "boss"},
     {"field": "medication_plan", "system": "ehr", "value": "850 mg"},
     {"field": "date_of_birth", "system": "ehr", "value": "yesterday"}],
)  # fmt: skip
def test_what_cannot_be_tried_is_said(visit: Visitors, form: dict[str, str]) -> None:
    """422, with the form as it was."""
    assert 422 == visit().post("/try", form, on="/try").status


class CountingStore(MemoryStore):
    """Counts the states that somebody looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.looked = 0

    def peek(self, prefix: str, record_ids: Sequence[str]) -> list[bytes | None]:
        """See `StateStore`."""
        self.looked += len(record_ids)
        return super().peek(prefix, record_ids)


@pytest.mark.parametrize("path", ["/?owner=", "/cases/r0-crm-0:care_stage", "/v1/conflicts"])
def test_a_page_of_a_long_queue_costs_what_one_of_a_short_queue_costs(path: str) -> None:
    """Counted in states that are read: three times as many at most for a hundred times as many cases."""
    lane, looked = DecideLane(), {}
    for number in range(2_000):
        lane.decide(row(f"r{number}", 0, "crm", {"care_stage": "nurture"}, "growth_ops", op="c"))
        if number + 1 in (2 * PAGE, 2_000):
            store = CountingStore()
            with served(office_on(lane, store)) as visit:
                visit(RITA).get("/?owner=")
                store.looked = 0
                assert 200 == visit(RITA).get(path).status
                looked[number + 1] = store.looked
    short, long = looked.values()
    assert long <= 3 * short
