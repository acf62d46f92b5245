"""The tables of `docs/reliability.md`: the faults and the mutations as they are registered, the soak as it was found.

`python -m chaos.reliability` writes the first two.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from chaos import faults_broker, faults_redis, faults_registry, faults_worker  # noqa: F401  # each fills the registry
from chaos.fault import REGISTRY

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
HERE: Final = Path(__file__).resolve().parent
# What a test does with the function beneath the fault, at a place of its own choice.
BY_ITS_PARTS: Final = {
    "kill-at-a-point": "test_worker_faults.py",
    "zombie-at-a-point": "test_worker_faults.py",
    "end-with-a-batch-in-flight": "test_worker_faults.py",
    "redis-written-late": "test_worker_faults.py",
}
NO_MUTATIONS: Final = "Not listed yet: there is no `tests/chaos/mutations.py`."


def faults() -> str:
    """Every registered fault: its name, what it does, what it is done to, and the test that injects it by name."""
    lines = ["| fault | what happens, and every input is still decided once | done to | by |", "|---|---|---|---|"]
    for name, fault in sorted(REGISTRY.items()):
        needs = ", ".join(sorted(fault.needs - {"progress"})) or "–"
        lines.append(f"| `{name}` | {fault.what} | {needs} | {_tests(name)} |")
    return "\n".join(lines)


def _tests(name: str) -> str:
    """The test modules that name a fault, or do by its parts what it does; the others come to it by combination."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(HERE.glob("test_*.py"))}
    named = [module for module, text in texts.items() if _names(text, name) and module != "test_soak.py"]
    named += [BY_ITS_PARTS[name]] if name in BY_ITS_PARTS else []
    return ", ".join(f"`{one}`" for one in named) or "by chance in `make chaos`"


def _names(text: str, name: str) -> bool:
    """Whether a module has the name in quotes, whole or after a common beginning."""
    first, _, rest = name.partition("-")
    return f'"{name}"' in text or (f'f"{first}-{{' in text and f'"{rest}"' in text)


def mutations() -> str:
    """The deliberate breaks of the mechanism, and under which faults `make mutate` plays each."""
    if find_spec("chaos.mutations") is None:
        return NO_MUTATIONS
    listed = import_module("chaos.mutations").MUTATIONS
    lines = ["| break | what is broken | played under |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| `{one.name}` | {one.what} | {one.scenario} |" for one in listed)])


def between_marks(page: str, word: str, text: str) -> str:
    """The page with the text between the two marks of that word; raises `ValueError` unless each is there once."""
    begin, end = f"<!-- {word}: begin -->", f"<!-- {word}: end -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise ValueError(f"the page needs `{begin}` and then `{end}`, each once")
    before, after = page.partition(begin)[0], page.partition(end)[2]
    return f"{before}{begin}\n{text.strip()}\n{end}{after}"


def write(**texts: str) -> None:
    """Puts each text between the marks of its word."""
    page = PAGE.read_text(encoding="utf-8")
    for word, text in texts.items():
        page = between_marks(page, word, text)
    PAGE.write_text(page, encoding="utf-8")


def main() -> int:
    """Writes the tables that need no run."""
    write(faults=faults(), mutations=mutations())
    return 0


if __name__ == "__main__":
    sys.exit(main())
