"""Dead letters of records in Avro, on a real Kafka and a real registry: a letter keeps its bytes and their prefix."""

import base64
import shutil
from pathlib import Path
from typing import Any

import pytest

from avro_kit import Converter, client
from chaos.clinic import contact, ehr_event
from chaos.installation import Installation
from chaos.run import avro
from integration.brokers import TestBroker
from integration.commands import command, feed, settled, shown, working
from integration.registry import ApicurioNode
from matrices import PATIENT
from ownership_stream.embedded import Embedded
from ownership_stream.errors import ExitCode
from ownership_stream.wire.avro_wire import wire_of
from ownership_stream.wire.framing import prefix
from source_kit import PATIENT_ROW

pytestmark = pytest.mark.real_broker
NAME = "Zebedee"


@pytest.fixture(scope="module")
def site(broker: TestBroker, embedded: Embedded, registry_node: ApicurioNode) -> Installation:
    """A clinic all in Avro, whose EHR has a column that nobody has mapped yet: a letter about each of two patients."""
    registry = registry_node
    registry.start()
    if not broker.real or shutil.which("redis-server") is None:
        pytest.skip("needs a real Kafka and a redis-server")
    site = Installation(broker.bootstrap, embedded.redis_url, partitions=2, source_partitions=1, said=avro(registry))
    with working(site):
        feed(site, [written(site, registry, number, family_name="Doe") for number in range(2)])
        feed(site, [written(site, registry, number, family_name=NAME, shoe_size="9") for number in range(2)])
        settled(site)
    return site


def written(site: Installation, registry: ApicurioNode, number: int, **columns: Any) -> tuple[str, bytes, bytes]:
    """A patient's row as the connector's converter writes it, by a schema that has all of its columns."""
    new = {name: "string" for name in columns if name not in PATIENT_ROW}
    converter = Converter(client(registry.url), site.sources["ehr"], **new)
    row = {**PATIENT_ROW, "patient_id": number, "crm_id": contact(number), **columns}
    source, key, value = ehr_event(number, row, "u" if new else "c", 100 * len(columns) + number)
    return source, *converter.event(key, value)


def letters(site: Installation) -> list[dict[str, Any]]:
    """Those that were not replayed, in the order of the source."""
    rows: list[dict[str, Any]] = shown(site, "dead-letters", "list", "--open")[1]["dead_letters"]
    return sorted(rows, key=lambda row: int(row["offset"]))


def test_a_letter_holds_the_record_s_own_bytes_and_shows_them_on_request_only(
    site: Installation, registry: ApicurioNode
) -> None:
    """With the number of its schema before them, by which anybody can read them."""
    found = letters(site)
    assert ["unknown_column"] * 2 == [row["reason"] for row in found]
    place = found[0]["place"]
    code, out, _ = command(site, "dead-letters", "show", place)
    assert (ExitCode.OK, False) == (code, NAME in out)
    page = shown(site, "dead-letters", "show", place, "--reveal")[1]
    key, value = (base64.b64decode(page[part]) for part in ("key", "value"))
    original = site.records(site.sources["ehr"])[found[0]["offset"]]
    assert (original.key(), original.value()) == (key, value)
    assert prefix(int.from_bytes(value[1:5], "big")) == value[:5]
    assert NAME.encode() in value


def test_a_replayed_letter_is_read_by_its_schema_and_decided(
    site: Installation, registry: ApicurioNode, tmp_path: Path
) -> None:
    """Once the mapping knows the column; the other letter waits on."""
    first, second = letters(site)
    code, done = shown(site, "dead-letters", "replay", first["place"])
    assert (ExitCode.OK, [False]) == (code, [one["before"] for one in done["replayed"]])
    back = site.records(site.sources["ehr"])[-1]
    assert first["bytes"] == len(back.value() or b"")
    with working(site, **mended(tmp_path / "mended")):
        settled(site)
    wire = wire_of(site.settings)
    changes = [wire.read_change(message.value() or b"") for message in site.records(site.settings.topic_changes)]
    named = [one.record for one in changes if NAME in str(one.fields.get("legal_name"))]
    assert [contact(0)] == named
    assert [second["place"]] == [row["place"] for row in letters(site)]


def mended(folder: Path) -> dict[str, str]:
    """The documents with the column mended: the EHR's mapping leaves it out by name."""
    shutil.copytree(PATIENT.parent, folder)
    mapping = folder / "sources" / "ehr.yaml"
    text = mapping.read_text(encoding="utf-8")
    assert "ignored: [created_at]" in text
    mapping.write_text(text.replace("ignored: [created_at]", "ignored: [created_at, shoe_size]"), encoding="utf-8")
    return {"matrix_path": str(folder / "patient.yaml"), "sources_path": str(folder / "sources")}
