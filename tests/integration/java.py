"""How the tests start programs in Java: by a JVM that begins soon, and ends with whoever started it.

What a JVM does most in its short life here is to load and verify classes. One run of a program, ended in order, leaves
those in an archive (`archived`); every later run begins with them. Knows nothing of the programs.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path


def command(folder: Path, heap: str, *options: str) -> list[str]:
    """The beginning of a command line for the program whose jars are in `folder`."""
    # Where the system can tell it to, it ends with this process even if that is killed.
    ward = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    java = ["java", f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
    archive = _archive(folder)
    shared = [f"-XX:SharedArchiveFile={archive}"] if archive.exists() else []
    return [*ward, *java, *(options or shared)]


def archived(folder: Path, run: Callable[[Sequence[str]], None]) -> Path:
    """Keeps a program's classes; where that is not done yet `run(options)` runs it once, up to an orderly end.

    Returns the folder. A Java that keeps nothing starts its programs as before.
    """
    archive = _archive(folder)
    if not archive.exists():
        draft = archive.with_suffix(f".{os.getpid()}")
        run([f"-XX:ArchiveClassesAtExit={draft}"])
        if draft.exists():
            draft.rename(archive)
    return folder


@cache
def _archive(folder: Path) -> Path:
    """Its place: with another Java it is another one."""
    java = Path(shutil.which("java") or "java").resolve()
    about = java.stat()
    told = f"{java} {about.st_size} {about.st_mtime_ns}"
    return folder / f"classes-{hashlib.sha256(told.encode()).hexdigest()[:12]}.jsa"
