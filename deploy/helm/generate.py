"""Writes what of the chart follows from elsewhere: README.md from values.yaml's comments, the settings of the schema.

`make docs` runs it; tests/deploy holds the files against it.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from ownership_stream.settings import Settings

CHART: Final = Path(__file__).resolve().parent / "ownership-stream"
OF_PAGES: Final = frozenset(name for name in Settings.model_fields if name.startswith("pages_"))
"""Settings that only `ownership-stream pages` reads, which this chart does not run."""
PLACED: Final = (
    frozenset(
        {
            "brokers",
            "http_host",
            "http_port",
            "matrix_path",
            "registry_ca_path",
            "registry_url",
            "registry_user",
            "sasl_mechanism",
            "sasl_username",
            "security_protocol",
            "sources_path",
            "tls_ca_path",
            "tls_certificate_path",
            "tls_key_path",
            *Settings.SECRETS,
        }
    )
    - OF_PAGES
)
"""Settings with a value of their own in the chart: files that it mounts, links, secrets. `settings` refuses them."""

HEAD: Final = """\
# Helm chart: ownership-stream

<!-- Made by `make docs` from values.yaml: change that, not this page. -->

Workers of ownership-stream for Kubernetes 1.27 or later. The chart connects to a Kafka and a Redis that are there; it
brings neither. How to install, step by step: `docs/deploy.md` of the project. A value that is not in this table is
refused, as is one that cannot be.

| value | default | meaning |
| --- | --- | --- |
"""


def settings_schema() -> dict[str, Any]:
    """The schema of the value `settings`: every setting of the program that has no place of its own."""
    whole = Settings.model_json_schema()
    named = whole["$defs"]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: _plain(one, named) for name, one in whole["properties"].items() if name not in PLACED | OF_PAGES
        },
    }


def _plain(one: dict[str, Any], named: dict[str, Any]) -> dict[str, Any]:
    """One property without titles and defaults, enumerations written out."""
    reference = one.get("$ref")
    if reference is not None:
        one = {"enum": named[reference.rpartition("/")[2]]["enum"], "description": one["description"]}
    return {key: value for key, value in one.items() if key not in {"title", "default"}}


def schema() -> str:
    """values.schema.json, with today's settings."""
    document = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    document["$defs"]["settings"] = settings_schema()
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def readme() -> str:
    """README.md: a row for each value."""
    values = YAML().load((CHART / "values.yaml").read_text(encoding="utf-8"))
    lines = (CHART / "values.yaml").read_text(encoding="utf-8").splitlines()
    rows = (f"| `{path}` | `{json.dumps(value)}` | {meaning} |" for path, value, meaning in _rows(values, lines, ""))
    return HEAD + "\n".join(rows) + "\n"


def _rows(values: CommentedMap, lines: list[str], above: str) -> Iterator[tuple[str, object, str]]:
    """(path, default, meaning) of every value below; a comment right above a key is its meaning."""
    for key, value in values.items():
        path = f"{above}{key}"
        line = values.lc.key(key)[0]
        if isinstance(value, CommentedMap) and value and not value.fa.flow_style():
            yield from _rows(value, lines, f"{path}.")
        else:
            yield path, value, _meaning(lines, line)


def _meaning(lines: list[str], line: int) -> str:
    words: list[str] = []
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        words.insert(0, lines[line].lstrip(" #"))
    return " ".join(words).replace("|", "\\|")


FILES: Final[dict[str, Callable[[], str]]] = {"README.md": readme, "values.schema.json": schema}


def main() -> None:
    """Write every file that differs."""
    for name, made in FILES.items():
        path = CHART / name
        text = made()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(CHART.parents[2])}")


if __name__ == "__main__":
    main()
