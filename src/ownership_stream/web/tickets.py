"""Tokens against requests that another site makes a browser send: bound to the actor and to a time, and not guessable.

A form carries one; another site cannot read it, since it cannot read our pages. Nothing is stored.
"""

import hmac
from hashlib import sha256
from typing import Final

LIFE_SECONDS: Final = 12 * 3600


class Tickets:
    """Makes and checks tickets; ``key`` is secret and the same for all processes that serve one address."""

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, b"tickets of pages", sha256)

    def make(self, actor: str, now: float) -> str:
        """One for this actor."""
        until = f"{int(now) + LIFE_SECONDS:x}"
        return f"{until}.{self._sign(actor, until)}"

    def holds(self, ticket: str, actor: str, now: float) -> bool:
        """Whether it is this actor's, and not too old."""
        until, _, signature = ticket.partition(".")
        good = hmac.compare_digest(signature.encode(), self._sign(actor, until).encode())
        return good and int(until, 16) > now

    def _sign(self, actor: str, until: str) -> str:
        return hmac.digest(self._key, f"{until}\0{actor}".encode(), sha256).hex()
