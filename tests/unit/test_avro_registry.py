"""The schema registry's client: what is asked once, what waits, and what is a dead letter."""

import json
from typing import Any
from uuid import UUID

import pytest

from avro_kit import Shelf, body, registry, serving
from ownership_stream.errors import BadInputError, UnavailableError
from ownership_stream.settings import load
from ownership_stream.wire.avro import BadSchemaError
from ownership_stream.wire.registry import (
    AWAY_SECONDS,
    MOST_UNKNOWN,
    UNKNOWN_SECONDS,
    Registry,
    UnknownSchemaError,
    http,
    registry_of,
)

RECORD = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}


def test_a_schema_is_asked_for_once_by_its_number_and_once_by_its_guid() -> None:
    """A schema never changes under its name."""
    shelf = Shelf()
    number = shelf.put(RECORD)
    known = registry(shelf)
    for _ in range(3):
        assert {"a": "x"} == known.schema(number).read(body(RECORD, {"a": "x"}))
        assert known.schema(shelf.guid(number)).raw == RECORD

    assert ["schemas/ids/1", f"schemas/guids/{shelf.guid(1)}"] == shelf.asked


def test_schemas_that_a_schema_names_are_fetched_with_it() -> None:
    """As Apicurio's serializers register a record of records: each under its own subject, deeper ones first."""
    shelf = Shelf()
    shelf.put({"type": "record", "name": "In", "namespace": "n", "fields": [{"name": "x", "type": "int"}]}, "n.In")
    inner = [{"name": "n.In", "subject": "n.In", "version": 1}]
    middle = {"type": "record", "name": "Mid", "namespace": "n", "fields": [{"name": "in", "type": "n.In"}]}
    shelf.put(middle, "n.Mid", references=inner)
    outer = {"type": "record", "name": "Out", "namespace": "n", "fields": [{"name": "mid", "type": "n.Mid"}]}
    number = shelf.put(outer, references=[{"name": "n.Mid", "subject": "n.Mid", "version": 1}])

    assert {"mid": {"in": {"x": 3}}} == registry(shelf).schema(number).read(b"\x06")


def test_schemas_that_name_each_other_for_ever_are_refused() -> None:
    """What cannot be read is said, not looped over."""
    shelf = Shelf()
    number = shelf.put(RECORD, references=[{"name": "n.R", "subject": "s", "version": 1}])

    with pytest.raises(BadSchemaError, match=r"names others more than 64 deep"):
        registry(shelf).schema(number)


@pytest.mark.parametrize(("types", "due"), [((200, ["AVRO"]), BadSchemaError), ((404, None), UnavailableError)])
def test_a_guid_that_a_registry_cannot_be_asked_for_is_no_reason_to_wait(types: Any, due: type[Exception]) -> None:
    """One that does not speak of GUIDs never will; but a 404 of something that is no registry may pass."""
    answers = {"schemas/types": types}
    known = Registry(lambda path, _: answers.get(path, (404, {"error_code": 404, "message": "HTTP 404 Not Found"})))
    with pytest.raises(due, match="knows no schemas by GUID" if due is BadSchemaError else "status 404"):
        known.schema(UUID(int=7))


@pytest.mark.parametrize("references", [["x"], 7, [{"name": "n.R"}, None]])
def test_references_in_other_words_than_the_protocols_are_refused(references: Any) -> None:
    """The schema cannot be read by, and no lane stumbles."""
    shelf = Shelf()
    with pytest.raises((BadSchemaError, UnknownSchemaError)):
        registry(shelf).schema(shelf.put(RECORD, references=references))


def test_numbers_that_nobody_has_are_not_remembered_without_bound() -> None:
    """Damaged records name any number."""
    known = registry(Shelf())
    for number in range(1, 2 * MOST_UNKNOWN):
        with pytest.raises(UnknownSchemaError):
            known.schema(number)
    assert len(known._unknown) <= MOST_UNKNOWN


def test_a_number_that_the_registry_does_not_have_is_unknown_and_asked_for_again_after_a_while() -> None:
    """A replica of the registry may only be behind."""
    shelf, now = Shelf(), [0.0]
    known = Registry(shelf.ask, clock=lambda: now[0])
    for _ in range(2):
        with pytest.raises(UnknownSchemaError, match=r"the schema registry has no `schemas/ids/1`"):
            known.schema(1)
    assert 1 == len(shelf.asked)

    shelf.put(RECORD)
    now[0] += UNKNOWN_SECONDS
    assert RECORD == known.schema(1).raw


def test_a_registry_that_is_away_is_unavailable_and_not_asked_again_at_once() -> None:
    """Lanes wait; those that come in the same moment do not each wait for a time-out of their own."""
    shelf, now = Shelf(), [0.0]
    number = shelf.put(RECORD)
    shelf.away = True
    known = Registry(shelf.ask, clock=lambda: now[0])
    for _ in range(3):
        with pytest.raises(UnavailableError, match=r"schema registry: does not answer: Connection refused"):
            known.schema(number)
    assert 1 == len(shelf.asked)

    shelf.away = False
    now[0] += AWAY_SECONDS
    assert RECORD == known.schema(number).raw
    shelf.away = True
    assert RECORD == known.schema(number).raw, "what is known stays known"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((404, {"error_code": 404, "message": "HTTP 404 Not Found"}), r"status 404, error 404: HTTP 404 Not Found"),
        ((404, None), r"status 404, and not a registry's answer: look at `registry_url`"),
        ((200, "hello"), r"status 200, and not a registry's answer"),
        ((401, {"error_code": 401, "message": "no"}), r"look at `registry_user` and `registry_password`"),
        ((500, {"error_code": 50001, "message": "backend"}), r"status 500, error 50001: backend"),
    ],
)
def test_only_the_registrys_own_word_makes_a_schema_unknown(answer: tuple[int, Any], words: str) -> None:
    """A wrong address or a broken registry must not turn a topic into dead letters: the lane waits, and says why."""
    with pytest.raises(UnavailableError, match=words):
        Registry(lambda _path, _body: answer).schema(1)


@pytest.mark.parametrize("schema", ["", "no", "{}", '{"type":"recor"}', "[" * 10_000, '{"type":"record"}', "7"])
def test_what_is_no_schema_of_avro_is_refused(schema: str) -> None:
    """Whatever a parser stumbles over."""
    shelf = Shelf()
    with pytest.raises(BadSchemaError):
        registry(shelf).schema(shelf.put(schema))


def test_a_schema_of_another_kind_is_refused() -> None:
    """Protobuf and JSON Schema have numbers in the same registry."""
    shelf = Shelf()
    with pytest.raises(BadSchemaError, match=r"none of Avro"):
        registry(shelf).schema(shelf.put('syntax = "proto3";', schemaType="PROTOBUF"))


def test_a_schema_of_ours_is_registered_once() -> None:
    """Its number is remembered by subject."""
    shelf = Shelf()
    known, text = registry(shelf), json.dumps(RECORD)

    assert [1, 1, 2] == [known.register(subject, text) for subject in ("a-value", "a-value", "b/c-value")]
    assert ["subjects/a-value/versions", "subjects/b%2Fc-value/versions"] == shelf.asked


def test_two_workers_that_make_a_subject_at_the_same_time_get_one_number() -> None:
    """One of them is told 409, that it is there already; asked again, it is told the number."""
    shelf = Shelf()
    answers = iter([(409, {"error_code": 409, "message": "already exists"})])
    known = Registry(lambda path, body: next(answers, None) or shelf.ask(path, body))

    assert 1 == known.register("s", "{}")


def test_a_schema_of_ours_that_the_registry_refuses_lets_lanes_wait() -> None:
    """A person has to mend that; until then nothing is lost, and no record is to blame."""
    shelf = Shelf()
    shelf.refuses = (409, {"error_code": 409, "message": "incompatible"})
    with pytest.raises(UnavailableError, match=r"refuses our schema for `a-value` \(status 409, error 409: incompat"):
        registry(shelf).register("a-value", "{}")


def test_over_http_a_registry_is_asked_with_its_password() -> None:
    """By the settings, as a worker does; the server is one of this process."""
    shelf = Shelf()
    number = shelf.put(RECORD)
    with serving(shelf, "secret") as url:
        said = {"registry_url": url, "registry_user": "user", "registry_timeout_seconds": "2"}
        known = registry_of(load(flags=said, environ={"OWNERSHIP_REGISTRY_PASSWORD": "secret"}).settings)
        assert known is not None
        assert RECORD == known.schema(number).raw
        assert 2 == known.register("x-value", "{}")
        with pytest.raises(UnknownSchemaError):
            known.schema(99)
        with pytest.raises(UnavailableError, match=r"status 401: look at `registry_user`"):
            Registry(http(url, user="user", password="other")).schema(number)
        with pytest.raises(UnavailableError, match=r"not a registry's answer: look at `registry_url`"):
            Registry(http(url.removesuffix("/apis/ccompat/v7"), user="user", password="secret")).schema(number)
    with pytest.raises(UnavailableError, match=r"schema registry: does not answer: Connection refused"):
        Registry(http(url)).schema(number)


def test_without_an_address_there_is_no_registry() -> None:
    """And a file of authorities that cannot be read is said before anything starts."""
    assert registry_of(load(environ={}).settings) is None
    with pytest.raises(BadInputError, match=r"`registry_ca_path` `/none.pem` cannot be used: No such file"):
        registry_of(load(flags={"registry_url": "https://r", "registry_ca_path": "/none.pem"}, environ={}).settings)


def test_settings_of_the_wire_that_contradict_each_other_are_refused() -> None:
    """Before a worker starts."""
    for flags, words in (
        ({"wire": "avro"}, r"`wire` avro needs `registry_url`"),
        ({"registry_url": "http://r", "registry_user": "u"}, r"`registry_user` and `registry_password` go together"),
        ({"registry_url": "ftp://r"}, r"registry_url"),
        ({"registry_url": "http://u:p@r"}, r"registry_url"),
    ):
        with pytest.raises(BadInputError, match=words):
            load(flags=flags, environ={})
