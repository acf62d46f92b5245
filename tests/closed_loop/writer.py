"""`examples/reference_writer.py` as a process: the careful alternative to a stock sink, on a real PostgreSQL."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL
from typing import Final

from matrices import ROOT

PROGRAM: Final = ROOT / "examples" / "reference_writer.py"
END_SECONDS: Final = 30.0


@dataclass
class CarefulWriter:
    """One writer with its `arguments`; it can be killed, and comes back to where its group stands."""

    folder: Path
    arguments: Sequence[str]
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Starts it; returns before it writes."""
        assert not self.running, "the writer runs already"
        ward = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command = [*ward, sys.executable, str(PROGRAM), *self.arguments]
        with (self.folder / "writer.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={"PATH": os.environ["PATH"]})

    def kill(self) -> None:
        """`kill -9`. Does nothing to one that is gone."""
        if self.process is not None:
            if self.running:
                self.process.send_signal(SIGKILL)
            self.process.wait(END_SECONDS)

    def log(self) -> str:
        """All that it said, over all its starts."""
        return (self.folder / "writer.log").read_text(errors="replace")
