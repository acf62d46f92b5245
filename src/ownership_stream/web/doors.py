"""Who is let in, and by what: a proxy that has the secret, or a token that is in the file. Closed where neither is.

A door looks at a request and says who it is, says nothing (this is not its kind of request), or refuses. Secrets are
compared in constant time; of tokens only hashes are kept.
"""

import hashlib
import hmac
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from aiohttp import BasicAuth, hdrs, web

from ownership_stream.errors import BadInputError
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.settings import Settings
from ownership_stream.web.actors import LONGEST_NAME, Actor, known_roles, roles_of

SECRET_HEADER: Final = "X-Ownership-Proxy-Secret"  # noqa: S105  # a header's name
BEARER: Final = "bearer "
SHA256_DIGITS: Final = 64


class RefusedError(Exception):
    """Who asks is not who they say, or nobody. ``door``: at which it was tried; empty: at none."""

    def __init__(self, text: str, *, door: str = "") -> None:
        super().__init__(text)
        self.door = door


class NoRoleError(Exception):
    """Somebody is who they say, and has no role here."""


class Door(Protocol):
    """One way in."""

    def let_in(self, request: web.BaseRequest) -> Actor | None:
        """Who it is; ``None`` where the request does not try this door.

        Raises ``RefusedError`` and ``NoRoleError``.
        """
        ...


class ProxyDoor:
    """An authenticating proxy: what it says of a person counts because it has the secret, and only then."""

    name: Final = "proxy"

    def __init__(self, settings: Settings, known: Collection[str]) -> None:
        secret = settings.pages_proxy_secret
        if secret is None:
            raise ValueError("a proxy's door has a secret")
        self._secret = secret.get_secret_value().encode()
        self._actor, self._groups = settings.pages_actor_header, settings.pages_groups_header
        self._mapped, self._known = settings.pages_groups, known

    def let_in(self, request: web.BaseRequest) -> Actor | None:
        """See ``Door``. Headers that come twice are refused: the second may be somebody else's."""
        shown = _secret_shown(request)
        if shown is None:
            return None
        if not hmac.compare_digest(shown.encode("utf-8", "surrogateescape"), self._secret):
            raise RefusedError("the proxy's secret is not ours", door=self.name)
        names, groups = request.headers.getall(self._actor, []), request.headers.getall(self._groups, [])
        name = names[0].strip() if len(names) == 1 else ""
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise RefusedError(f"the proxy names nobody in `{self._actor}`", door=self.name)
        listed = [group.strip() for line in groups for group in line.split(",")]
        return _with_role(name, roles_of(listed, self._mapped, self._known), ambient=True)


class TokenDoor:
    """API tokens: ``Authorization: Bearer …``. ``holders``: SHA-256 of a token -> (name, roles)."""

    name: Final = "token"

    def __init__(self, holders: Mapping[str, tuple[str, tuple[str, ...]]]) -> None:
        self._holders = holders

    def let_in(self, request: web.BaseRequest) -> Actor | None:
        """See ``Door``. Looked up by its hash, whose time to find tells nothing of a token."""
        said = request.headers.get(hdrs.AUTHORIZATION, "")
        if not said.lower().startswith(BEARER):
            return None
        token = said[len(BEARER) :].strip()
        holder = self._holders.get(hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest())
        if holder is None:
            raise RefusedError("no such token", door=self.name)
        return _with_role(*holder, ambient=False)


def _with_role(name: str, roles: tuple[str, ...], *, ambient: bool) -> Actor:
    if not roles:
        raise NoRoleError("you have no role here: ask for one")
    return Actor(name, roles, ambient)


def _secret_shown(request: web.BaseRequest) -> str | None:
    """The secret in the header of its own, or as the password by which oauth2-proxy's ``pass_basic_auth`` says it."""
    shown = request.headers.getall(SECRET_HEADER, [])
    if shown:
        return shown[0] if len(shown) == 1 else ""
    said = request.headers.get(hdrs.AUTHORIZATION, "")
    if not said.lower().startswith("basic "):
        return None
    try:
        return str(BasicAuth.decode(said).password)
    except ValueError:
        return ""


def doors_of(settings: Settings, matrix: Matrix) -> list[Door]:
    """The doors that the settings open; raises ``BadInputError`` where there is none, or one cannot be used."""
    known = known_roles(matrix)
    for group, role in settings.pages_groups.items():
        if role not in known:
            raise BadInputError(f"`pages_groups` gives group `{group}` the role `{role}`: {_known_words(known)}")
    doors: list[Door] = []
    if settings.pages_tokens_path is not None:
        doors.append(TokenDoor(read_tokens(settings.pages_tokens_path, known)))
    if settings.pages_proxy_secret is not None:
        doors.append(ProxyDoor(settings, known))
    if not doors:
        raise BadInputError(
            "pages are served to nobody who was not let in: set `pages_proxy_secret` or `pages_tokens_path` "
            "(docs/pages.md)"
        )
    if settings.hash_key is None:
        raise BadInputError("pages need the setting `hash_key`: cases have editions and records names by it")
    return doors


def read_tokens(path: Path, known: Collection[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """The tokens of a file: ``[[token]]`` with ``name``, ``roles`` and ``sha256``; raises ``BadInputError``."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"token file `{path}` cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise BadInputError(f"token file `{path}` is not TOML") from None
    entries = content.get("token", [])
    if not isinstance(entries, list) or content.keys() - {"token"}:
        raise BadInputError(f"token file `{path}` holds tables `[[token]]` and nothing else")
    problems, holders = [], dict[str, tuple[str, tuple[str, ...]]]()
    for number, entry in enumerate(entries, 1):
        wrong = _wrong(entry, known, holders)
        if wrong:
            problems.append(f"token file `{path}`, token {number}: {wrong}")
        else:
            holders[entry["sha256"].lower()] = (entry["name"].strip(), tuple(entry["roles"]))
    if problems:
        raise BadInputError(*problems)
    return holders


def _wrong(entry: Any, known: Collection[str], before: Mapping[str, object]) -> str:
    """What is wrong with one token's entry; empty where nothing is."""
    if not isinstance(entry, dict) or entry.keys() != {"name", "roles", "sha256"}:
        return "it has `name`, `roles` and `sha256`, and nothing else"
    name, roles, digest = entry["name"], entry["roles"], entry["sha256"]
    if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST_NAME:
        return "`name` says who holds it"
    if not isinstance(roles, list) or not roles or any(role not in known for role in roles):
        return f"`roles` is a list: {_known_words(known)}"
    if not isinstance(digest, str) or len(digest) != SHA256_DIGITS or set(digest.lower()) - set("0123456789abcdef"):
        return "`sha256` is the token's SHA-256 in 64 hex digits, never the token itself"
    return "its `sha256` was there before" if digest.lower() in before else ""


def _known_words(known: Collection[str]) -> str:
    return "there are " + ", ".join(f"`{role}`" for role in sorted(known))


def first(doors: Sequence[Door], request: web.BaseRequest) -> Actor:
    """Who asks, by the first door that the request tries; raises ``RefusedError`` and ``NoRoleError``."""
    for door in doors:
        actor = door.let_in(request)
        if actor is not None:
            return actor
    raise RefusedError("nobody vouches for who asks")
