"""Where a peer's time goes: py-spy looks at its process while it works, and the functions seen most are printed."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from figures import self_and_below
from runs import Running

PER_SECOND: Final = 200
SECONDS: Final = 12
TOP: Final = 25


class Profile:
    """A profile from `start` to the end of a `with`, printed then; nothing unless `wanted`."""

    def __init__(self, run: Running, *, wanted: bool) -> None:
        self._run, self._wanted = run, wanted
        self._file = Path(run.job.folder) / "profile"
        self._spy: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def start(self) -> None:
        """Begins to look."""
        if self._wanted:
            beside = Path(sys.executable).parent / "py-spy"
            program = str(beside) if beside.exists() else shutil.which("py-spy") or "py-spy"
            command = [program, "record", "--pid", str(self._run.process.pid), "--format", "raw", "--nonblocking"]
            command += ["--rate", str(PER_SECOND), "--duration", str(SECONDS), "--output", str(self._file)]
            self._spy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603  # our own command

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._spy is None:
            return
        self._spy.send_signal(2)
        self._spy.wait(60)
        if self._file.exists():
            print(told(self._file.read_text(encoding="utf-8"), self._run.peer.word))


def told(folded: str, word: str) -> str:
    """The functions seen most, in themselves and with what they called, in per cent of all samples."""
    own, below = self_and_below(folded.splitlines())
    total = sum(own.values()) or 1
    lines = [f"profile of `{word}`: {total:,} samples while it was not idle"]
    for name, seen in (("in itself", own), ("with what it called", below)):
        lines.append(f"  {name}")
        top = sorted(seen.items(), key=lambda one: -one[1])[:TOP]
        lines += [f"    {100 * count / total:5.1f} %  {frame}" for frame, count in top]
    return "\n".join(lines)
