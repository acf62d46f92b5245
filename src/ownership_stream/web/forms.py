"""What a person sent, as an ask: the words of a form, and the value in its field's own form. Knows no HTTP."""

from collections.abc import Mapping
from typing import Final

from ownership_stream.errors import BadInputError
from ownership_stream.matrix.compiled import Field, Matrix
from ownership_stream.matrix.normalise import NotCanonical, normalise
from ownership_stream.model import Ask, Value

LONGEST: Final = 2_000
"""Characters of a reason or a comment."""
PLAIN_ACTIONS: Final = frozenset({"keep", "dismiss"})


def ask_of(matrix: Matrix, name: str, form: Mapping[str, str]) -> Ask:
    """What the form of a case asks, of a field or of the record itself; raises ``BadInputError``.

    ``action`` is ``keep``, ``dismiss``, ``clear``, ``set`` (with ``value``, or a ``value.PART`` each), or
    ``accept:SYSTEM``.
    """
    action, _, system = form.get("action", "").partition(":")
    if action in PLAIN_ACTIONS:
        return Ask(case="", action="keep" if action == "keep" else "dismiss")
    if action == "accept" and system in matrix.systems:
        return Ask(case="", action="accept", system=system)
    field = matrix.fields.get(name)
    if action in ("set", "clear") and field is not None:
        return Ask(case="", action="set", value=None if action == "clear" else _given(field, form))
    raise BadInputError("choose one of the answers that the case offers")


def said(form: Mapping[str, str], name: str, what: str) -> str | None:
    """A text of the form, ``None`` where it is blank; raises ``BadInputError`` where it is too long."""
    text = form.get(name, "").strip()
    if len(text) > LONGEST:
        raise BadInputError(f"{what} is longer than {LONGEST} characters")
    return text or None


def value_of(field: Field, raw: object) -> Value:
    """A value in the field's own form; raises ``BadInputError`` with what is wrong and never the value."""
    try:
        return normalise(field, raw)
    except NotCanonical as error:
        raise BadInputError(f"that is no value of `{field.label}`: {error.reason}") from None


def _given(field: Field, form: Mapping[str, str]) -> Value:
    """The value that was typed in; parts that were left blank are not named."""
    raw: object = form.get("value", "").strip()
    if field.parts:
        typed = {part: form.get(f"value.{part}", "").strip() for part in field.parts}
        raw = {part: text for part, text in typed.items() if text}
    if not raw:
        raise BadInputError(f"give a value of `{field.label}`, or choose that it has none")
    value = value_of(field, raw)
    if value is None:
        raise BadInputError(f"give a value of `{field.label}`, or choose that it has none")
    return value
