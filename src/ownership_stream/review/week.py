"""Weeks as ISO 8601 counts them, in UTC: Monday to Sunday, named as in `2026-W47`."""

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, NamedTuple, Self

from ownership_stream.errors import BadInputError

_WEEK: Final = re.compile(r"(\d{4})-W(\d{2})")
DAY_MILLISECONDS: Final = 86_400_000


class Week(NamedTuple):
    """One week; weeks sort by time."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The week of that name; raises ``BadInputError``."""
        found = _WEEK.fullmatch(text.strip())
        try:
            if found is not None:
                week = cls(int(found[1]), int(found[2]))
                week.monday.toordinal()
                return week
        except ValueError:
            pass
        raise BadInputError(f"`{text}` is no week: write year and ISO week, as in `2026-W47`")

    @classmethod
    def of(cls, moment: int) -> Self:
        """The week that a moment (milliseconds since 1970) lies in."""
        year, number, _ = datetime.fromtimestamp(moment / 1000, UTC).isocalendar()
        return cls(year, number)

    @property
    def monday(self) -> date:
        """Its first day."""
        return date.fromisocalendar(self.year, self.number, 1)

    @property
    def sunday(self) -> date:
        """Its last day."""
        return self.monday + timedelta(days=6)

    @property
    def begins(self) -> int:
        """Its first moment, milliseconds since 1970."""
        return int(datetime.combine(self.monday, time(), tzinfo=UTC).timestamp()) * 1000

    @property
    def ends(self) -> int:
        """The first moment that is no longer in it, milliseconds since 1970."""
        return self.begins + 7 * DAY_MILLISECONDS

    def before(self, weeks: int = 1) -> "Week":
        """The week so many weeks earlier."""
        return Week.of(self.begins - 7 * weeks * DAY_MILLISECONDS)

    def __str__(self) -> str:
        return f"{self.year:04}-W{self.number:02}"
