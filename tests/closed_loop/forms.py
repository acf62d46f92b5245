"""What stands on the topics of a loop: how connectors write it and sinks read it, and how a test looks into it.

One form is one row here, so that another is one more: Avro would bring its converters, `wire` and `registry_url`.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from ownership_stream.wire import Apply

JSON_CONVERTER: Final = "org.apache.kafka.connect.json.JsonConverter"


class Form(NamedTuple):
    """One form.

    `source` and `sink` are settings of their connectors, `said` settings of the worker, `apply_as` the mappings' word.
    `event` opens a record of a source topic, `apply` one of an apply topic.
    """

    apply_as: str
    source: Mapping[str, str]
    sink: Mapping[str, str]
    said: Mapping[str, Any]
    event: Callable[[bytes], dict[str, Any]]
    apply: Callable[[bytes], Apply]


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
