"""What stands on the topics of a loop: how connectors write it and sinks read it, and how a test looks into it.

One form is one row here, so that another is one more.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from avro_kit import client
from integration.registry import ApicurioNode
from matrices import ROOT
from ownership_stream.wire import JSON, Apply, Wire
from ownership_stream.wire.avro_wire import AvroWire
from ownership_stream.wire.framing import prefix

JSON_CONVERTER: Final = "org.apache.kafka.connect.json.JsonConverter"
AVRO_CONVERTER: Final = "io.apicurio.registry.utils.converter.AvroConverter"


class Form(NamedTuple):
    """One form.

    `source` and `sink` are settings of their connectors, `said` settings of the worker, `apply_as` the mappings' word.
    `event` opens a record of a source topic, `apply` one of an apply topic, `wire` those of our own. `tables` is what
    the form makes of the SQL of a system's tables.
    """

    apply_as: str
    source: Mapping[str, str]
    sink: Mapping[str, str]
    said: Mapping[str, Any]
    event: Callable[[bytes], dict[str, Any]]
    apply: Callable[[bytes], Apply]
    wire: Wire = JSON
    tables: Callable[[str], str] = str


def _converters(*, schemas: bool) -> dict[str, str]:
    return {
        f"{part}.converter{setting}": value
        for part in ("key", "value")
        for setting, value in (("", JSON_CONVERTER), (".schemas.enable", str(schemas).lower()))
    }


def _opened(value: bytes) -> Apply:
    return msgspec.convert(json.loads(value)["payload"], Apply)


JSON_WITH_SCHEMA: Final = Form(
    apply_as="json with schema",
    source={**_converters(schemas=False), "value.converter.replace.null.with.default": "false"},
    sink=_converters(schemas=True),
    said={},
    event=json.loads,
    apply=_opened,
)
"""The sparse form: an apply record holds what changed and nothing else."""


def avro(registry: ApicurioNode) -> Form:
    """All in Avro by this registry, which answers: what connectors tell, what the worker writes, what sinks read.

    Apicurio's converter gives a column's default where a row has null, and no setting of it says otherwise
    (docs/avro.md): so here no column that may be null has a default. Those that may not keep theirs.
    """
    asked = client(registry.url)

    def event(value: bytes) -> dict[str, Any]:
        begin = len(prefix(0))
        found: dict[str, Any] = asked.schema(int.from_bytes(value[1:begin], "big")).read(value, begin)
        return found

    converters = {
        f"{part}.converter{setting}": one
        for part in ("key", "value")
        for setting, one in (
            ("", AVRO_CONVERTER),
            (".apicurio.registry.url", registry.own_url),
            *((f".apicurio.registry.{name}", one) for name, one in documented_converter().items()),
        )
    }
    wire = AvroWire(asked, {}, {})
    return Form(
        apply_as="avro with changed columns",
        source={**converters, "schema.name.adjustment.mode": "avro", "field.name.adjustment.mode": "avro"},
        sink=converters,
        said={"wire": "avro", "registry_url": registry.url},
        event=event,
        apply=wire.read_apply,
        wire=wire,
        tables=_without_defaults_of_what_may_be_null,
    )


def documented_converter() -> dict[str, str]:
    """What docs/avro.md tells users of Apicurio's converter to set, without the prefix."""
    page = (ROOT / "docs" / "avro.md").read_text(encoding="utf-8")
    _, _, table = page.partition("| Setting of the converter | Value |\n|---|---|\n")
    rows = [line.strip("| ").split(" | ") for line in table.partition("\n\n")[0].splitlines()]
    return {name: value.strip("`") for names, value in rows for name in re.findall("`([^`]+)`", names)}


def _without_defaults_of_what_may_be_null(tables: str) -> str:
    return re.sub(r"^(?!.* NOT NULL)(.*?) DEFAULT ('[^']*'|[0-9.]+)", r"\1", tables, flags=re.MULTILINE)
