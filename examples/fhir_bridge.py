"""A bridge from FHIR to ownership-stream: one `Patient` resource a line on stdin becomes a row event on `fhir.patient`.

    curl -s "$FHIR/Patient/123" | jq -c . | python examples/fhir_bridge.py localhost:9092

What an event holds is docs/sources.md, section 4; which column is which field says examples/fhir.yaml. Versions are
opaque (`meta.versionId`), so events are ordered by `meta.lastUpdated`. Items of a list are chosen by what they are,
never by their place. `gender` is administrative and no column here: it is not the field `sex`.
"""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

CRM = "urn:example:crm"  # the identifier system under which the EHR keeps the CRM's id


def chosen(items: Sequence[dict[str, Any]] | None, **wanted: str) -> dict[str, Any]:
    """The first item that is all of this and not yet over; an empty one if there is none."""
    current = [item for item in items or () if "end" not in item.get("period", {})]
    return next((item for item in current if all(item.get(name) == word for name, word in wanted.items())), {})


def row_event(patient: dict[str, Any]) -> dict[str, Any]:
    """A Patient resource as a row event: every column each time, so that one that is gone is null."""
    updated = datetime.fromisoformat(patient["meta"]["lastUpdated"])
    name, home = chosen(patient.get("name"), use="official"), chosen(patient.get("address"), use="home")
    row = {
        "id": patient["id"],
        "crm_id": chosen(patient.get("identifier"), system=CRM).get("value"),
        "family": name.get("family"),
        "given": " ".join(name.get("given", ())) or None,
        "birth_date": patient.get("birthDate"),
        "email": chosen(patient.get("telecom"), system="email").get("value"),
        "phone": chosen(patient.get("telecom"), system="phone", use="mobile").get("value"),
        "street": ", ".join(home.get("line", ())) or None,
        "city": home.get("city"),
        "region": home.get("state"),
        "postal_code": home.get("postalCode"),
        "country": home.get("country"),
        "language": patient.get("language"),
    }
    at = round(updated.timestamp() * 1000)
    return {"table": "Patient", "op": "u", "at": at, "version": at, "id": patient["meta"]["versionId"], "row": row}


def main(brokers: str) -> None:
    """Produce an event for each line; the key keeps a patient's events in one partition, in their order."""
    from confluent_kafka import Producer  # noqa: PLC0415  # the mapping above needs no Kafka

    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True})
    for patient in map(json.loads, sys.stdin):
        producer.produce("fhir.patient", json.dumps(row_event(patient)), patient["id"])
    producer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
