"""Salesforce's compound fields: a name, an address or a place that an event nests, and the columns that an object has.

In an event the street of a mailing address is ``MailingAddress.Street``, in the object ``MailingStreet``; a mapping may
name either. Source: Salesforce, "Change Data Capture Developer Guide", "Get Compound Fields in Change Events";
docs/sources/salesforce.md.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

_OF_NAME: Final = frozenset({"FirstName", "LastName", "MiddleName", "Salutation", "Suffix", "InformalName"})
_OF_ADDRESS: Final = re.compile(
    r"(\w*?)(Street|City|StateCode|State|PostalCode|CountryCode|Country|Latitude|Longitude|GeocodeAccuracy)"
)
_OF_PLACE: Final = re.compile(r"(\w+)__(Latitude|Longitude)__s")


def nested_name(column: str) -> str:
    """A column of an object by the name that events give it: ``MailingCity`` is ``MailingAddress.City``."""
    if column in _OF_NAME:
        return f"Name.{column}"
    if found := _OF_ADDRESS.fullmatch(column):
        return f"{found[1]}Address.{found[2]}"
    if found := _OF_PLACE.fullmatch(column):
        return f"{found[1]}__c.{found[2]}"
    return column


class Compounds:
    """The compound fields that hold columns of one mapped table."""

    def __init__(self, mapped: Iterable[str]) -> None:
        self._columns = {nested_name(column): column for column in sorted(mapped)}
        # Who maps `Name.LastName` itself means just that.
        self._columns |= {column: column for column in mapped}
        self._parts: dict[str, list[str]] = {}
        for name, column in sorted(self._columns.items()):
            compound, dot, _ = name.partition(".")
            if dot:
                self._parts.setdefault(compound, []).append(column)

    def column(self, name: str) -> str:
        """The mapped column that a name in an event stands for; the name itself where there is none."""
        return self._columns.get(name, name)

    def parts(self, name: str) -> list[str]:
        """The mapped columns of a compound field; none where the name is of no such."""
        return self._parts.get(name, [])

    def flat(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The columns of an event, each under its mapped name; a null beside its compound's value says nothing."""
        found: dict[str, Any] = {}
        for name, value in body.items():
            found |= self.nested(name, value)
        plain = {name: value for name, value in body.items() if not isinstance(value, dict)}
        return found | {name: value for name, value in plain.items() if value is not None or name not in found}

    def nested(self, name: str, value: Any) -> dict[str, Any]:
        """The columns within a compound field, each under its mapped name; none if it is no such."""
        if not isinstance(value, dict):
            return {}
        return {self.column(f"{name}.{part}"): inner for part, inner in value.items()}
