"""The least coverage (lines and branches together) of the modules that must not rot; run after pytest.

The modules and their per cent stand in pyproject.toml, `[tool.ownership.coverage]`; a package counts as one.
Exits 1 and names each module that is below, or that was not measured at all.
"""

import json
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from coverage import Coverage

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "src/ownership_stream"


def measured(files: dict[str, Any], module: str) -> float | None:
    """Per cent of lines and branches run in a module or package; None if nothing of it was measured."""
    prefix = f"{PACKAGE}/{module}"
    summaries = [entry["summary"] for path, entry in files.items() if path == prefix or path.startswith(f"{prefix}/")]
    total = sum(summary["num_statements"] + summary["num_branches"] for summary in summaries)
    run = sum(summary["covered_lines"] + summary["covered_branches"] for summary in summaries)
    return 100 * run / total if total else None


def problems(files: dict[str, Any], least: dict[str, float]) -> list[str]:
    """A line for each module below its least per cent."""
    found = []
    for module, wanted in least.items():
        got = measured(files, module)
        if got is None:
            found.append(f"`{module}` was not measured: is its name in pyproject.toml right?")
        elif got < wanted:
            found.append(f"`{module}` is covered to {got:.1f} %, at least {wanted} % is asked for")
    return found


def main() -> int:
    """Read the data that pytest left, judge, and say so."""
    least = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ownership"]["coverage"]
    with TemporaryDirectory() as folder:
        coverage = Coverage(config_file=str(ROOT / "pyproject.toml"))
        coverage.load()
        report = Path(folder) / "coverage.json"
        coverage.json_report(outfile=str(report))
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    found = problems(files, least)
    for line in found:
        sys.stderr.write(f"coverage: {line}\n")
    if not found:
        figures = ", ".join(f"{module} {measured(files, module):.0f} %" for module in least)
        sys.stdout.write(f"coverage of the core: {figures}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
