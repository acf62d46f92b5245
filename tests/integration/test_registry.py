"""A real schema registry: it takes our schemas, guards them, names what records are written by, and may be away.

One registry serves them all; to start it costs some ten seconds, once in a session.
"""

import json
from io import BytesIO
from itertools import islice
from pathlib import Path
from signal import SIGTERM
from typing import Any
from urllib.request import Request, urlopen

import fastavro
import pytest

from avro_kit import Converter, body, client, connect, key_schema
from chaos.clinic import clinic, contact
from chaos.installation import Installation, WorkerProcess
from chaos.judge import judge
from chaos.load import converted
from chaos.run import avro
from chaos.witness import observe
from integration.commands import command, feed, settled, shown, until, working
from integration.registry import ApicurioNode
from matrices import ROOT
from ownership_stream import sources
from ownership_stream.errors import ExitCode, UnavailableError
from ownership_stream.settings import Settings
from ownership_stream.wire.avro_wire import wire_of
from ownership_stream.wire.framed import FramedDecoder
from ownership_stream.wire.framing import HEADERS, prefix
from ownership_stream.wire.schemas import apply_schema
from source_kit import EHR, EHR_TOPIC, MATRIX, ehr_event, from_ehr, packed
from step_kit import WRITERS

pytestmark = pytest.mark.real_broker
SCHEMAS = sorted((ROOT / "avro").glob("*.avsc"))
REFUSED = "schema registry: refuses our schema for"


def asked(registry: ApicurioNode, path: str, body: Any = None, method: str = "GET") -> Any:
    """What the registry answers somebody who is not ours."""
    headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"{registry.url}/{path}", data, headers, method=method)  # noqa: S310  # a registry of our own
    with urlopen(request, timeout=30) as answer:  # noqa: S310  # as above
        return json.loads(answer.read())


# ---------------------------------------------------------------------------------------------------- schemas


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_the_registry_takes_our_schemas_and_lets_follow_what_every_reader_can_read(
    registry: ApicurioNode, path: Path
) -> None:
    """FULL_TRANSITIVE: a field that may be null may come, and go again; one that was there may not go."""
    subject, schema = f"guarded.{path.stem}-value", json.loads(path.read_text())
    ours = client(registry.url)
    number = ours.register(subject, json.dumps(schema))
    asked(registry, f"config/{subject}", {"compatibility": "FULL_TRANSITIVE"}, "PUT")
    assert number == client(registry.url).register(subject, json.dumps(schema))
    more = {**schema, "fields": [*schema["fields"], {"name": "x", "type": ["null", "string"], "default": None}]}
    assert number != ours.register(subject, json.dumps(more))
    assert [1, 2] == asked(registry, f"subjects/{subject}/versions")
    must = {**schema, "fields": [*schema["fields"], {"name": "y", "type": "string"}]}
    needed = [field for field in schema["fields"] if "default" not in field]
    less = {**schema, "fields": [field for field in schema["fields"] if field != needed[0]]}
    for broken in (must, less):
        with pytest.raises(UnavailableError, match=REFUSED):
            ours.register(subject, json.dumps(broken))


def test_every_set_of_changed_columns_may_follow_every_other(registry: ApicurioNode) -> None:
    """`apply as: avro with changed columns`: versions of one subject, FULL_TRANSITIVE."""
    subject, ours = "guarded.apply.ehr.sets-value", client(registry.url)
    whole = apply_schema(WRITERS["ehr"])
    ours.register(subject, json.dumps(whole))
    asked(registry, f"config/{subject}", {"compatibility": "FULL_TRANSITIVE"}, "PUT")
    sets = [{"patient_id", "email"}, {"patient_id", "weight_kg", "sync_change_id"}, {"patient_id"}]
    numbers = {ours.register(subject, json.dumps(apply_schema(WRITERS["ehr"], frozenset(one)))) for one in sets}
    assert 3 == len(numbers)


# ---------------------------------------------------------------------------------------------------- framings


def test_a_record_is_read_by_the_number_before_it_and_by_the_number_in_its_header(registry: ApicurioNode) -> None:
    """As the registry itself gave it out, asked by a client that has never seen the schema."""
    converter = Converter(client(registry.url), "framed.ehr")
    key, value = converter.event(b'{"patient_id":123}', packed(ehr_event()))
    decoder = FramedDecoder(sources.decoder(EHR, MATRIX), EHR, client(registry.url))
    assert from_ehr(ehr_event()) == decoder.decode(EHR_TOPIC, key, value, 0)
    headers = [(HEADERS[part], prefix(converter.numbers[part])) for part in ("key", "value")]
    bare = body(converter.schemas["value"], ehr_event())
    decoder = FramedDecoder(sources.decoder(EHR, MATRIX), EHR, client(registry.url))
    assert from_ehr(ehr_event()) == decoder.decode(EHR_TOPIC, body(key_schema(), {"patient_id": 123}), bare, 0, headers)


def test_a_number_that_the_registry_never_gave_is_an_unknown_schema(registry: ApicurioNode) -> None:
    """By its own error code: a dead letter, and no reason to wait."""
    decoder = FramedDecoder(sources.decoder(EHR, MATRIX), EHR, client(registry.url))
    with pytest.raises(sources.Undecodable, match="the schema registry has no `schemas/ids/999999`"):
        decoder.decode(EHR_TOPIC, b"{}", prefix(999_999) + b"x", 0)


def test_a_guid_is_answered_or_refused_and_never_waited_for(registry: ApicurioNode) -> None:
    """A registry that does not speak of GUIDs at all must not stop a lane for ever."""
    decoder = FramedDecoder(sources.decoder(EHR, MATRIX), EHR, client(registry.url))
    headers = [(HEADERS["value"], b"\x01" + bytes(range(16)))]
    with pytest.raises(sources.Undecodable) as caught:
        decoder.decode(EHR_TOPIC, b"{}", b"x", 0, headers)
    assert caught.value.reason in {"unknown_schema", "unsupported"}


# ---------------------------------------------------------------------------------------------------- a worker


def installed(servers: tuple[str, str], registry: ApicurioNode) -> Installation:
    """Two lanes of each stage, all in Avro."""
    return Installation(*servers, partitions=2, source_partitions=1, said=avro(registry))


def judged(site: Installation) -> None:
    """Every input was decided once, as nothing else would have it."""
    verdict = judge(observe(site), site.stages, wire=wire_of(site.settings))
    assert verdict.ok, str(verdict)


def waits(worker: WorkerProcess) -> bool:
    """Whether it says that it waits for the registry."""
    status, reason = worker.get("/readyz")
    return status == 503 and "schema registry: does not answer" in reason


def test_a_worker_waits_for_a_registry_that_is_not_there_yet(
    servers: tuple[str, str], registry_node: ApicurioNode
) -> None:
    """Alive, not ready, the reason in words, nothing decided; then it works by itself, and nothing is lost."""
    registry_node.kill()
    site = installed(servers, registry_node)
    feed(site, islice(clinic(6, patients=5), 40))
    worker = site.worker()
    try:
        until(lambda: waits(worker) or not worker.running, "/readyz says that the registry is away")
        assert (200, "alive\n") == worker.get("/healthz"), worker.said()[-2_000:]
        assert [] == site.records(site.settings.topic_changes)
        registry_node.start()
        settled(site)
        until(lambda: worker.get("/readyz")[0] == 200, "a ready worker")
        worker.signal(SIGTERM)
        assert 0 == worker.wait(), worker.said()[-2_000:]
    finally:
        worker.close()
    judged(site)


@pytest.fixture(scope="module")
def afternoon(servers: tuple[str, str], registry_node: ApicurioNode) -> Installation:
    """A clinic's afternoon in Avro, with the registry silent for a while in the middle; the worker has gone home."""
    registry_node.start()
    site = installed(servers, registry_node)
    ours, topic = client(registry_node.url), site.sources["ehr"]
    before = Converter(ours, topic)
    after = Converter(ours, topic, risk_flag=connect("string", "io.debezium.data.Enum"))
    assert before.numbers["value"] != after.numbers["value"]
    events = clinic(7, patients=8)
    with working(site) as worker:
        feed(site, converted(islice(events, 200), before))
        settled(site)
        registry_node.pause()
        try:
            feed(site, converted(islice(events, 60), before))
            settled(site)
            assert 200 == worker.get("/readyz")[0], "what is known needs no registry"
            feed(site, converted((event for event in islice(events, 60) if event[0] == "ehr"), after))
            until(lambda: waits(worker) or not worker.running, "/readyz says that the registry is away")
            decided = len(site.records(site.settings.topic_changes))
            feed(site, (event for event in islice(events, 60) if event[0] == "crm"))
            until(lambda: len(site.records(site.settings.topic_changes)) > decided, "other lanes at work")
            assert (200, "alive\n") == worker.get("/healthz")
        finally:
            registry_node.resume()
        settled(site)
        until(lambda: worker.get("/readyz")[0] == 200, "a ready worker")
    return site


def test_a_registry_silent_in_mid_stream_loses_nothing(afternoon: Installation) -> None:
    """Lanes that know their schemas went on, one that met a new one waited; every input was decided once."""
    judged(afternoon)


def test_our_subjects_are_the_topics(afternoon: Installation, registry: ApicurioNode) -> None:
    """TopicNameStrategy: values of all topics that were written to, keys of the apply topics."""
    settings = afternoon.settings
    written = [topic for topic in owned(settings) if afternoon.records(topic)]
    apply = [settings.topic_apply(system) for system in ("crm", "ehr")]
    assert set(apply) < set(written)
    subjects = {name for name in asked(registry, "subjects") if name.startswith(afternoon.name)}
    theirs = {f"{afternoon.sources['ehr']}-{part}" for part in ("key", "value")}
    assert {f"{topic}-value" for topic in written} | {f"{topic}-key" for topic in apply} == subjects - theirs


def owned(settings: Settings) -> list[str]:
    """The topics of ours that hold records and not states."""
    names = (settings.topic_changes, settings.topic_conflicts, settings.topic_resolutions)
    others = (settings.topic_matches, settings.topic_links)
    return [*names, *others, settings.topic_apply("crm"), settings.topic_apply("ehr")]


def test_anybody_reads_an_apply_record_by_its_schema(afternoon: Installation, registry: ApicurioNode) -> None:
    """By the number before the body and no code of ours; dates are days, the whole row is there."""
    message = afternoon.records(afternoon.settings.topic_apply("ehr"))[-1]
    key, value = (_read(registry, part) for part in (message.key() or b"", message.value() or b""))
    assert key["patient_id"] == value["after"]["patient_id"]
    assert set(value["sync"]["changed_fields"]) < value["after"].keys()
    assert isinstance(value["after"]["patient_id"], int)
    assert "application/avro" == dict(message.headers() or [])["content-type"].decode()  # type: ignore[union-attr]  # bytes


def _read(registry: ApicurioNode, data: bytes) -> Any:
    schema = json.loads(asked(registry, f"schemas/ids/{int.from_bytes(data[1:5], 'big')}")["schema"])
    return fastavro.schemaless_reader(BytesIO(data[5:]), schema, None)


# ---------------------------------------------------------------------------------------------------- commands


def test_verify_finds_no_difference(afternoon: Installation, registry: ApicurioNode) -> None:
    """States, Redis and every output, in Avro."""
    code, page = shown(afternoon, "verify", "--outputs")
    assert (ExitCode.OK, 0) == (code, page["differences"]), page
    assert all(lane["outputs"] for lane in page["lanes"] if lane["stage"] == "decide")


def test_explain_tells_a_record_s_story(afternoon: Installation, registry: ApicurioNode) -> None:
    """Its changes are read from the log in Avro."""
    code, page = shown(afternoon, "explain", contact(3))
    assert ExitCode.OK == code
    assert page["decisions"]


def test_dead_letters_are_the_records_that_nobody_could_read(afternoon: Installation, registry: ApicurioNode) -> None:
    """Garbage is garbage in front of a registry too; there is nothing else."""
    code, page = shown(afternoon, "dead-letters", "list")
    assert ExitCode.OK == code
    assert {"not_json"} >= {letter["reason"] for letter in page["dead_letters"]}


def test_sources_check_shows_columns_of_a_topic_in_avro(afternoon: Installation, registry: ApicurioNode) -> None:
    """Through the registry, with what its schemas say of a column."""
    code, page = shown(afternoon, "sources", "check", "--source", "ehr", "--topic", afternoon.sources["ehr"])
    assert code in (ExitCode.OK, ExitCode.PROBLEMS), page
    [table] = page["tables"]
    assert "envelope" == max(page["forms"], key=lambda form: int(page["forms"][form]))
    assert page["with_schema"] == page["forms"]["envelope"]
    assert {"birth_date": ("mapped", "whole number")} == {
        column["name"]: (column["use"], column["type"]) for column in table["columns"] if column["name"] == "birth_date"
    }


def test_a_command_that_needs_a_registry_which_is_away_ends_with_one_line(
    afternoon: Installation, registry: ApicurioNode
) -> None:
    """Exit code 4, as for Kafka and Redis."""
    nobody = f"http://127.0.0.1:{registry.port + 1}/apis/ccompat/v7"
    for words in (("explain", contact(3)), ("verify",), ("sources", "check", "--source", "ehr")):
        code, out, err = command(afternoon, *words, registry_url=nobody)
        assert (ExitCode.UNAVAILABLE, "") == (code, out), (words, err)
        assert err.startswith("error: schema registry: does not answer"), err
        assert 1 == err.count("\n")
