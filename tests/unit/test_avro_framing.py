"""How a record says which schema it was written with."""

from uuid import UUID

import pytest

from ownership_stream.wire.framing import Framed, FramingError, framed, prefix

GUID = UUID("2f6f4d4c-6b6d-4f0e-9c71-0a1b2c3d4e5f")
BY_GUID = b"\x01" + GUID.bytes


def test_a_number_before_the_body_is_read_as_it_is_written() -> None:
    """A zero byte, and four bytes of the number, big-endian."""
    assert b"\x00\x00\x00\x01\x02" == prefix(258)
    assert Framed(258, 5) == framed(prefix(258) + b"body", ())


def test_a_guid_before_the_body_is_read_too() -> None:
    """A byte of one, and the GUID's sixteen."""
    assert Framed(GUID, 17) == framed(BY_GUID + b"body", ())


def test_a_header_is_looked_at_first_and_then_all_of_the_bytes_are_the_body() -> None:
    """Even where they begin with a zero, as a record's first null does."""
    headers = [("traceparent", b"x"), ("__value_schema_id", BY_GUID)]

    assert Framed(GUID, 0) == framed(b"\x00\x00\x00\x00\x01rest", headers)
    assert Framed(7, 0) == framed(b"", [("__value_schema_id", prefix(7))])


def test_key_and_value_have_a_header_each() -> None:
    """What is said of the key says nothing of the value."""
    headers = [("__key_schema_id", BY_GUID)]

    assert Framed(GUID, 0) == framed(b"{}", headers, "key")
    assert framed(b"{}", headers, "value") is None


@pytest.mark.parametrize("text", [b"", b"null", b'{"op":"u"}', b" {}", b"123"])
def test_text_is_not_framed(text: bytes) -> None:
    """JSON never begins with a byte of zero or one."""
    assert framed(text, ()) is None


@pytest.mark.parametrize("cut", [b"\x00", b"\x00\x00\x00\x01", b"\x01" + bytes(15)])
def test_a_prefix_that_was_cut_off_is_refused(cut: bytes) -> None:
    """There is no schema to read by."""
    with pytest.raises(FramingError, match=r"the value names no schema") as caught:
        framed(cut, ())
    assert "not_avro" == caught.value.reason


@pytest.mark.parametrize("said", [b"", b"\x02abcd", BY_GUID + b"x", b"\x00\x00\x00\x00\x07 "])
def test_a_header_that_holds_anything_else_is_refused(said: bytes) -> None:
    """More than a name of a schema is none."""
    with pytest.raises(FramingError, match=r"the header `__value_schema_id` names no schema"):
        framed(b"body", [("__value_schema_id", said)])


@pytest.mark.parametrize("name", ["globalId", "contentId", "contentHash", "artifactId"])
def test_apicurios_framing_by_header_alone_is_refused_with_the_setting_to_change(name: str) -> None:
    """Its default: the bytes are the body, and nothing in them says so."""
    with pytest.raises(FramingError, match=r"`apicurio.registry.headers.enabled=false`") as caught:
        framed(b"\x02body", [(f"apicurio.value.{name}", bytes(8))])
    assert "unsupported" == caught.value.reason
    assert framed(b"{}", [(f"apicurio.key.{name}", bytes(8))]) is None


def test_apicurios_numbers_of_eight_bytes_are_refused_with_the_setting_to_change() -> None:
    """Their first half is zero, and no registry gives that number."""
    with pytest.raises(FramingError, match=r"`apicurio.registry.as-confluent=true`") as caught:
        framed(b"\x00" + (7).to_bytes(8, "big") + b"body", ())
    assert "unsupported" == caught.value.reason
