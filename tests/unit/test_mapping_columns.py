"""What a mapping makes of columns: encodings both ways, writers, links, and the rarer shapes of a value."""

from typing import Any

import msgspec
import pytest

from mapping_kit import edited, mapped
from ownership_stream import sources
from ownership_stream.model import Change
from ownership_stream.sources.encodings import DECIMAL, Encoding, canonical, written
from ownership_stream.sources.mapping import Actors
from source_kit import EHR, MATRIX, changed, one, packed


@pytest.mark.parametrize(
    ("name", "part", "encoding", "raw", "value"),
    [
        ("date_of_birth", "", Encoding("epoch days"), 4017, "1980-12-31"),
        ("date_of_birth", "", Encoding("epoch days"), -25_567, "1900-01-01"),
        ("date_of_birth", "", Encoding("epoch ms"), 4017 * 86_400_000, "1980-12-31"),
        ("date_of_birth", "", Encoding("iso"), "1980-12-31", "1980-12-31"),
        ("next_appointment", "", Encoding("epoch us"), 1_767_261_600_123_000, "2026-01-01T10:00:00.123Z"),
        ("next_appointment", "", Encoding("epoch ns"), 1_767_261_600_123_000_000, "2026-01-01T10:00:00.123Z"),
        ("next_appointment", "", Encoding("epoch s"), 1_767_261_600, "2026-01-01T10:00:00.000Z"),
        ("next_appointment", "", Encoding("epoch ms"), -1, "1969-12-31T23:59:59.999Z"),
        ("next_appointment", "", Encoding("iso"), "2026-01-01T10:00:00.123Z", "2026-01-01T10:00:00.123Z"),
        ("weight", "", Encoding(DECIMAL, 2), "H8k=", 81.37),
        ("weight", "", Encoding(DECIMAL, 2), "/w==", -0.01),
        ("weight", "", Encoding(DECIMAL, 0), "AIA=", 128),
        ("weight", "", Encoding(), 81.5, 81.5),
        ("medication_plan", "drug", Encoding(), "metformin", "metformin"),
    ],
)
def test_an_encoding_reads_and_writes_the_same(name: str, part: str, encoding: Encoding, raw: Any, value: Any) -> None:
    """What is written back is what the source would have written."""
    field = MATRIX.fields[name]

    assert value == canonical(field, part, encoding, raw)
    assert raw == written(encoding, field.parts.get(part, field.type), value)


def test_a_decimal_may_bring_its_own_scale() -> None:
    """Debezium's `VariableScaleDecimal`."""
    text = edited("ehr", ("weight_kg:               weight\n", "weight_kg:               weight as decimal\n"))
    event = {
        "op": "u",
        "after": {"patient_id": 1, "crm_id": None, "weight_kg": {"scale": 2, "value": "H8k="}},
        "source": {"connector": "postgresql", "schema": "public", "table": "patient", "lsn": 5, "ts_ms": 6},
    }
    change = one(sources.decoder(mapped(text), MATRIX).decode("t", b"{}", packed(event), 0))

    assert {"weight": 81.37} == change.fields
    assert {"scale": 2, "value": "H8k="} == written(Encoding(DECIMAL), "number", 81.37)


def test_a_placeholder_of_one_s_own_is_known() -> None:
    """Debezium's `unavailable.value.placeholder` can be set, and so can ours."""
    mapping = mapped(edited("ehr", ("system: ehr", "system: ehr\nunavailable value: <gone>")))
    event = {
        "op": "u",
        "after": {"patient_id": 1, "crm_id": None, "email": "<gone>", "phone": None},
        "source": {"connector": "postgresql", "schema": "public", "table": "patient", "lsn": 5, "ts_ms": 6},
    }

    assert {"phone": None} == one(sources.decoder(mapping, MATRIX).decode("t", b"{}", packed(event), 0)).fields


def test_the_longest_known_beginning_says_who_a_writer_is() -> None:
    """A whole id before any beginning, and the source's own word for the role before both."""
    actors = Actors(
        ids={"p/1": (None, "person")},
        beginnings={"p/": ("provider", "person"), "p/bot-": ("integration", "automation")},
        words={"RN": ("nurse", "person")},
    )

    assert (None, "person") == actors.of("p/1")
    assert ("provider", "person") == actors.of("p/2")
    assert ("integration", "automation") == actors.of("p/bot-7")
    assert ("nurse", "person") == actors.of("p/2", "RN")
    assert ("provider", "person") == actors.of("p/2", "MD")
    assert (None, "automation") == actors.of("q") == actors.of(None)


def test_a_mapping_is_immutable() -> None:
    """One serves all lanes and threads."""
    with pytest.raises(AttributeError):
        EHR.source = "x"  # type: ignore[misc]  # that is what is tested
    assert msgspec.structs.replace(EHR, source="x").source == "x"


def visited(mapping: sources.Mapping, **columns: Any) -> Change:
    """An update of a patient row that carries only these columns beside its ids."""
    event = {
        "op": "u",
        "after": {"patient_id": 1, "crm_id": None} | columns,
        "source": {"connector": "postgresql", "schema": "public", "table": "patient", "lsn": 5, "ts_ms": 6},
    }
    return one(sources.decoder(mapping, MATRIX).decode("t", b"{}", packed(event), 0))


def test_a_time_with_a_zone_is_a_time_of_the_row() -> None:
    """TIMESTAMPTZ arrives as ISO text, as the row's time, in evidence and as a value."""
    text = edited(
        "ehr",
        ("updated_at as epoch us", "updated_at as iso"),
        ("completed_at as epoch us", "completed_at as iso"),
        ("next_appointment as epoch us", "next_appointment as iso"),
    )
    at = "2026-01-01T12:00:00.123456+02:00"
    change = visited(mapped(text), updated_at=at, follow_up_completed_at=at, next_appointment_at=at)

    assert 1_767_261_600_123 == change.updated_at == change.evidence["follow_up_completion"].at
    assert "2026-01-01T10:00:00.123Z" == change.fields["next_appointment"]


@pytest.mark.parametrize("raw", ["no base64!", "", "QUJD" * 30, 7.5, True])
def test_what_is_no_decimal_is_refused(raw: Any) -> None:
    """By its table and column."""
    column = "weight_kg:               weight"
    mapping = mapped(edited("ehr", (f"{column}\n", f"{column} as decimal 2\n")))

    with pytest.raises(sources.Undecodable) as caught:
        visited(mapping, weight_kg=raw)
    assert caught.value.message.startswith("table `public.patient`, column `weight_kg`: ")


def test_a_row_whose_link_must_be_there_is_no_record_without_it() -> None:
    """Without `else` a row nobody has linked yet is a dead letter, and comes back when it is."""
    mapping = mapped(edited("ehr", (', else: "ehr:<key>"', "")))

    with pytest.raises(sources.Undecodable, match=r"the link column is null, and the mapping has no `else`"):
        visited(mapping, email=None)
    assert "c-1" == visited(mapping, crm_id="c-1").record


def test_an_ignored_table_is_ignored_by_name() -> None:
    """Its events are counted, and no dead letters."""
    mapping = mapped(edited("ehr", ("system: ehr", "system: ehr\nignored tables: [public.audit]")))
    event = {"op": "u", "after": {}, "source": {"connector": "postgresql", "schema": "public", "table": "audit"}}

    assert "table" == sources.decoder(mapping, MATRIX).decode("t", b"{}", packed(event), 0).ignored


COMPOUND = tuple(
    (f"      Mailing{name}:", f"      MailingAddress.{name}:")
    for name in ("Street", "City", "State", "PostalCode", "Country")
)


@pytest.mark.parametrize(
    ("event", "address"),
    [
        (changed("MailingAddress", MailingAddress={"City": "Springfield"}), {"city": "Springfield"}),
        (changed(**{"MailingAddress.City": "Springfield"}), {"city": "Springfield"}),
        (changed("MailingAddress", MailingAddress=None), None),
        (changed(header={"nulledFields": ["MailingAddress"]}), None),
        (changed(header={"nulledFields": ["MailingAddress.City"]}), {"city": None}),
    ],
)
def test_a_compound_column_of_salesforce_is_mapped_by_its_parts(event: dict[str, Any], address: Any) -> None:
    """Where the connector nests them; a compound that is null clears all of its parts."""
    ignored = ('MailingAddress, "MailingAddress.*", ', "")
    decoder = sources.decoder(mapped(edited("crm", *COMPOUND, ignored)), MATRIX)

    assert {"address": address} == one(decoder.decode("t", None, packed(event), 0)).fields
