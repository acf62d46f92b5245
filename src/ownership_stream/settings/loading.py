"""Where each setting's value comes from.

Later sources win: defaults, the TOML file, the secrets directory, the environment (`OWNERSHIP_…`), flags. A
mistake in any of them is a line of ours, never with the value of a secret.
"""

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import EnvSettingsSource, SecretsSettingsSource, SettingsError

from ownership_stream.errors import BadInputError
from ownership_stream.settings.model import NESTED, PREFIX, Settings

# Names with our prefix that are no settings: where to find them, and what the tests read.
NOT_SETTINGS: Final = re.compile(r"OWNERSHIP_(SETTINGS|SECRETS_DIR|OUTPUT|ACTOR|ROLE|TEST_\w+)")
# Kubernetes puts such variables into every pod for each service; a service may well be called `ownership`.
SERVICE_LINK: Final = re.compile(r"OWNERSHIP_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings beside the source of each: `origins[name]` is `default`, `flag`, `environment …`, `file …`."""

    settings: Settings
    origins: Mapping[str, str]

    def rows(self) -> list[tuple[str, str, str]]:
        """(name, value as text with secrets hidden, origin) of every setting, in the order of the class."""
        return [
            (name, shown(name, getattr(self.settings, name)), self.origins.get(name, "default"))
            for name in Settings.model_fields
        ]

    def data(self) -> dict[str, dict[str, object]]:
        """Name -> its value as JSON has it and its origin; a secret is hidden text, or null where unset."""
        plain = self.settings.model_dump(mode="json", exclude=set(Settings.SECRETS))
        return {
            name: {"value": plain.get(name, value or None), "origin": origin} for name, value, origin in self.rows()
        }


@dataclass(frozen=True, slots=True)
class Described:
    """One setting as the documentation shows it; a secret's default is shown like its value, hidden."""

    name: str
    default: str
    meaning: str
    secret: bool


def describe() -> list[Described]:
    """Every setting, in the order of the class."""
    plain = Settings()
    return [
        Described(name, shown(name, getattr(plain, name)), field.description or "", name in Settings.SECRETS)
        for name, field in Settings.model_fields.items()
    ]


def load(
    *,
    file: Path | None = None,
    secrets_dir: Path | None = None,
    flags: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Read the settings from all sources; later ones win: file, secrets directory, environment, flags.

    `file` and `secrets_dir` default to `OWNERSHIP_SETTINGS` and `OWNERSHIP_SECRETS_DIR`.
    Raises BadInputError with one line per mistake, never with the value of a secret.
    """
    environ = os.environ if environ is None else environ
    file = file or _path(environ.get(f"{PREFIX}SETTINGS"))
    secrets_dir = secrets_dir or _path(environ.get(f"{PREFIX}SECRETS_DIR"))
    values: dict[str, object] = {}
    origins: dict[str, str] = {}
    for origin, layer in (
        (f"file {file}", _from_file(file)),
        (f"secret in {secrets_dir}", _from_secrets(secrets_dir)),
        ("environment", _from_environment(environ)),
        ("flag", _from_flags(flags or {})),
    ):
        values |= layer
        origins |= dict.fromkeys(layer, origin)
    try:
        return Loaded(Settings.model_validate(values), origins)
    except ValidationError as error:
        raise BadInputError(*(line for e in error.errors() for line in _lines(e, origins))) from None


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _from_file(file: Path | None) -> dict[str, object]:
    if file is None:
        return {}
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"settings file `{file}` cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInputError(f"settings file `{file}` is not TOML: {_lower(str(error))}") from None
    _refuse_unknown(content, f"settings file `{file}`", spell=str)
    return content


def _from_secrets(directory: Path | None) -> dict[str, object]:
    """One file per setting, named `sasl_password` or `OWNERSHIP_SASL_PASSWORD`."""
    if directory is None:
        return {}
    if not directory.is_dir():
        raise BadInputError(f"secrets directory `{directory}` is no directory: give one with a file per secret")
    try:
        plain = SecretsSettingsSource(Settings, secrets_dir=directory, env_prefix="")()
        return plain | SecretsSettingsSource(Settings, secrets_dir=directory)()
    except SettingsError as error:
        name = _field_of(error)
        raise BadInputError(f"`{name}` in secrets directory `{directory}` cannot be read") from None


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    ours = {name.upper(): value for name, value in environ.items() if name.upper().startswith(PREFIX)}
    foreign = {name for name in ours if NOT_SETTINGS.fullmatch(name) or _is_service_link(name)}
    return _from_text(
        {name.removeprefix(PREFIX).lower(): value for name, value in ours.items() if name not in foreign},
        "the environment",
        spell=lambda name: f"{PREFIX}{name.upper()}",
    )


def _is_service_link(variable: str) -> bool:
    known = variable.removeprefix(PREFIX).lower() in Settings.model_fields
    return not known and SERVICE_LINK.fullmatch(variable) is not None


def _from_flags(flags: Mapping[str, str]) -> dict[str, object]:
    for name in Settings.SECRETS & flags.keys():
        raise BadInputError(
            f"`{name}` is a secret, and every user of the machine can read flags: "
            f"give it by `{PREFIX}{name.upper()}` or by a file in the secrets directory"
        )
    return _from_text(dict(flags), "the flags", spell=str)


def _from_text(pairs: Mapping[str, str], where: str, *, spell: Callable[[str], str]) -> dict[str, object]:
    """Settings written as text: `source_epoch__ehr` reaches into a mapping, an empty text means not set."""
    _refuse_unknown([name.split(NESTED)[0] for name in pairs], where, spell)
    source = EnvSettingsSource(Settings, env_prefix="")
    source.env_vars = {name: value for name, value in pairs.items() if value}
    try:
        return source()
    except SettingsError as error:
        raise BadInputError(
            f'`{spell(_field_of(error))}` in {where} is not JSON: write an object such as {{"ehr": 1}}'
        ) from None


def _field_of(error: SettingsError) -> str:
    found = re.search(r'field "(\w+)"', str(error))
    return found[1] if found else "a setting"


def _refuse_unknown(names: Iterable[str], where: str, spell: Callable[[str], str]) -> None:
    known = list(Settings.model_fields)
    problems = []
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean `{spell(near[0])}`?" if near else "`ownership-stream settings` lists all"
            problems.append(f"unknown setting `{spell(name)}` in {where}: {hint}")
    if problems:
        raise BadInputError(*problems)


def _lines(error: ErrorDetails, origins: Mapping[str, str]) -> Iterator[str]:
    """One mistake in our words: the setting, where its value came from, what is wrong with it."""
    message = _lower(error["msg"].removeprefix("Value error, ")).replace("'", "`")
    if not error["loc"]:
        yield from (f"settings: {part}" for part in message.split("; "))
        return
    name = str(error["loc"][0])
    path = ".".join(str(part) for part in error["loc"])
    given = "" if name in Settings.SECRETS else f", not `{error['input']}`"
    yield f"setting `{path}` ({origins.get(name, 'default')}): {message}{given}"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:].rstrip(".")


def shown(name: str, value: object) -> str:
    """A setting's value as text that may be printed: a secret never is, save where an address leads."""
    if value is None:
        return ""
    if name == "redis_url" and isinstance(value, SecretStr):
        parts = urlsplit(value.get_secret_value())
        hidden = "***@" if "@" in parts.netloc else ""
        query = "?***" if parts.query else ""
        return f"{parts.scheme}://{hidden}{parts.netloc.rpartition('@')[2]}{parts.path}{query}"
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True) if value else ""
    return str(value)
