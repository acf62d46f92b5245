"""The documentation says what the program does: generated pages, links, commands, and nothing of one machine."""

import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ownership_stream.cli import COMMANDS, run
from ownership_stream.errors import ExitCode

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_OURS = {".git", ".venv", ".venv-bench", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache"}
NOT_OURS |= {"__pycache__", "build"}


def generator() -> ModuleType:
    """docs/generate.py, which is no package."""
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def files() -> Iterator[Path]:
    """Every text file of the tree that is ours."""
    for path in sorted(ROOT.rglob("*")):
        measured = path.name.startswith(".coverage")
        if path.is_file() and not measured and NOT_OURS.isdisjoint(path.relative_to(ROOT).parts):
            yield path


@pytest.mark.parametrize("name", sorted(generator().PAGES))
def test_a_generated_page_is_what_the_program_says(name: str) -> None:
    """`make docs` was run after the last change."""
    assert generator().PAGES[name]() == (ROOT / "docs" / name).read_text(encoding="utf-8"), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_tree_leads_somewhere(page: Path) -> None:
    """A relative link names a file or a folder that exists."""
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    inside = [link for link in links if "://" not in link]

    assert [] == [link for link in inside if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    """`make` recipes and `ownership-stream` commands are spelled as they are."""
    text = page.read_text(encoding="utf-8")
    recipes = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    made = re.findall(r"(?:`|\$ |[A-Z_]+=\S+ )make ([a-z-]+)", text)
    called = re.findall(r"(?:`|\$ )ownership-stream ([a-z-]+)", text)

    assert set() == set(made) - set(recipes)
    assert set() == set(called) - set(COMMANDS)


@pytest.mark.parametrize("command", ["matrix check", "matrix show", "simulate"])
def test_the_readmes_cheap_commands_work_as_they_stand(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the README tells a reader to type works in the tree, and says something."""
    assert f"`ownership-stream {command}`" in " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    monkeypatch.chdir(ROOT)

    assert ExitCode.OK == run(command.split())
    assert capsys.readouterr().out


def test_make_alone_lists_the_recipes() -> None:
    """A bare `make` changes nothing and names what there is."""
    listed = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True).stdout

    for recipe in ("demo", "test", "check", "lint", "bench-decide", "lock", "docs"):
        assert f"make {recipe} " in listed


def test_ci_runs_the_readmes_test_command_and_nothing_else() -> None:
    """What a reader is told to run is what CI runs."""
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line and not line.startswith(("#", "set ", "cd "))]

    assert ["exec make test"] == commands
    assert "$ make test\n" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_locks_hold_hashes_and_no_index_address() -> None:
    """Each package is pinned with hashes, and nobody's package index is written down."""
    for name in ("requirements.lock", "requirements-test.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"https?://|--(extra-)?index-url|--find-links", text)
        entries = re.split(r"\n(?=[a-z])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
        assert [] == [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry]


def test_the_tests_lock_has_what_the_run_time_lock_has() -> None:
    """Both locks agree, so that what is tested is what runs."""
    pins = [
        set(re.findall(r"^([a-z0-9-]+==\S+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))
        for name in ("requirements.lock", "requirements-test.lock")
    ]

    assert set() == pins[0] - pins[1]


def test_nothing_in_the_tree_names_one_machine_or_a_package_registry() -> None:
    """The tree works anywhere: no absolute path of a work place, and no registry's host."""
    # Spelled in two parts, so that this list does not find itself.
    parts = [
        "/work|/",
        "/root|/",
        "/home|/",
        "pypi|.org",
        "pythonhosted|.org",
        "repo1|.maven",
        "maven.apache|.org/maven2",
    ]
    words = ["".join(word.split("|")) for word in [*parts, "proxy.golang|.org", "registry|.npmjs"]]
    found = [
        f"{path.relative_to(ROOT)}: {word}" for path in files() for word in words if word.encode() in path.read_bytes()
    ]

    assert [] == found
