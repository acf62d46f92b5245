"""The image without a container engine: its files laid out as Dockerfile says, run in a room of their own.

The room is a root of its own that nobody can write to, save /tmp; its processes are the Dockerfile's user, without
capabilities, with the Dockerfile's variables and no others. What it shares with a container: paths, user, rights,
files, entry point. What it does not: the base image, whose place this machine's Python and C library take; the network.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from functools import cache
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / "Dockerfile"
PROGRAM = "/opt/ownership-stream"


class Image(NamedTuple):
    """What the last stage of the Dockerfile sets, and what the build stage copies from the tree."""

    variables: dict[str, str]
    folder: str
    user: int
    group: int
    command: list[str]
    sources: list[str]


@cache
def image() -> Image:
    """The Dockerfile, read."""
    stages: list[list[tuple[str, str]]] = []
    for word, rest in _instructions():
        if word == "FROM":
            stages.append([])
        elif stages:
            stages[-1].append((word, rest))
    build, last = stages
    said = dict(last)
    user, _, group = said["USER"].partition(":")
    variables = dict(pair.split("=", 1) for word, rest in last if word == "ENV" for pair in shlex.split(rest))
    sources = [
        source for word, rest in build if word == "COPY" and not rest.startswith("--") for source in rest.split()[:-1]
    ]
    command = [*json.loads(said["ENTRYPOINT"]), *json.loads(said["CMD"])]
    return Image(variables, said["WORKDIR"], int(user), int(group), command, sources)


def _instructions() -> Iterator[tuple[str, str]]:
    whole = ""
    for line in DOCKERFILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        whole += line.removesuffix("\\")
        if whole.strip() and not line.endswith("\\"):
            word, _, rest = whole.strip().partition(" ")
            yield word, rest.strip()
            whole = ""


def build_context(into: Path) -> None:
    """The files that the build stage copies, and no others: those that .dockerignore lets through."""
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    into.mkdir()
    for source in image().sources:
        name = source.rstrip("/")
        if name not in let_through:
            raise FileNotFoundError(f"`{name}` is copied by the Dockerfile, and .dockerignore keeps it out")
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, into / name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copy(ROOT / name, into / name)


def build_wheel(source: Path, into: Path) -> Path:
    """The wheel of a tree, by the build backend of the lock."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(into)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (wheel,) = into.glob("*.whl")
    return wheel


def install(wheel: Path, into: Path, extra: str = "") -> None:
    """A new environment with the wheel, and beside it what the wheel declares to need, and nothing else.

    Those libraries are the locked ones of the tests' environment, linked to: fetching them again would prove no more.
    """
    venv.EnvBuilder(with_pip=False, symlinks=True).create(into)
    pip = [sys.executable, "-m", "pip", "--python", str(into / "bin" / "python"), "install", "--quiet", "--no-deps"]
    pip += ["--no-index", "--disable-pip-version-check", "--no-compile", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    site = _site(into)
    (info,) = site.glob("ownership_stream-*.dist-info")
    for library in _needed(Distribution.at(info), extra):
        for top in {Path(file).parts[0] for file in library.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(library.locate_file(top))).resolve())


def _site(environment: Path) -> Path:
    (site,) = environment.glob("lib/python*/site-packages")
    return site


def _needed(of: Distribution, extra: str) -> list[Distribution]:
    """The libraries that a distribution declares to need, with those that they need in turn."""
    found: dict[str, Distribution] = {}
    todo = [(of, {"", extra})]
    while todo:
        one, extras = todo.pop()
        for line in one.requires or ():
            needed = Requirement(line)
            if needed.marker and not any(needed.marker.evaluate({"extra": chosen}) for chosen in extras):
                continue
            key = f"{needed.name}{sorted(needed.extras)}"
            if key not in found:
                found[key] = distribution(needed.name)
                todo.append((found[key], {"", *needed.extras}))
    return list(found.values())


ENTER = """
set -eu
root=$1 program=$2 work=$3 at=$4 python=$5 libraries=$6; shift 6
mount -t tmpfs -o mode=755 none "$root"
mkdir -p "$root/usr" "$root/etc" "$root/dev" "$root/proc" "$root/tmp" "$root$at" "$root/opt/ownership-stream"
mount -t tmpfs -o mode=1777,size=64m none "$root/tmp"
mkdir -p "$root$python" "$root$libraries"
for link in bin sbin lib lib32 lib64; do if [ -L "/$link" ]; then cp -P "/$link" "$root/$link"; fi; done
shared() { mount --bind "$1" "$root$2"; mount -o remount,bind,ro "$root$2"; }
shared /usr /usr; shared /etc /etc
shared "$python" "$python"; shared "$libraries" "$libraries"
shared "$program" /opt/ownership-stream; shared "$work" "$at"
mount --bind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -o remount,ro "$root"
exec chroot "$root" "$@"
"""


class Room:
    """The image's files in folders of this machine, ready to be run in a root of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        build_context(folder / "context")
        wheel = build_wheel(folder / "context", folder / "dist")
        install(wheel, folder / "program", extra="demo")
        self._at_its_place(folder / "program")
        shutil.copytree(folder / "context" / "matrix", folder / "work" / "matrix")
        (folder / "root").mkdir()

    @staticmethod
    def _at_its_place(program: Path) -> None:
        """The entry point names its Python by the path that it has in the image."""
        script = program / "bin" / "ownership-stream"
        script.write_text(script.read_text().replace(str(program), PROGRAM))

    def command(self, *arguments: str, variables: dict[str, str] | None = None) -> list[str]:
        """A command in the room, as the first process of its own: what `docker run --read-only` would run."""
        told = image()
        set_ = [f"{name}={value}" for name, value in (told.variables | (variables or {})).items()]
        libraries = next(path for path in map(Path, sys.path) if path.name == "site-packages").resolve()
        folder = self._folder
        enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "enter"]
        enter += [str(folder / "root"), str(folder / "program"), str(folder / "work"), told.folder]
        enter += [str(Path(sys.base_prefix).resolve()), str(libraries)]
        enter += ["setpriv", f"--reuid={told.user}", f"--regid={told.group}", "--clear-groups", "--no-new-privs"]
        enter += ["--bounding-set=-all", "--inh-caps=-all"]
        return [*enter, "env", "--ignore-environment", "-C", told.folder, *set_, *arguments]

    def run(self, *arguments: str, variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        command = self.command(*arguments, variables=variables)
        return subprocess.run(command, capture_output=True, text=True, check=False)


def room_is_possible() -> str:
    """Why no room can be made here; empty if it can."""
    if os.geteuid() != 0:
        return "only root can make a root of its own"
    if not all(map(shutil.which, ("unshare", "setpriv", "chroot"))):
        return "needs unshare and setpriv (util-linux)"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True, check=False
    )
    return tried.stderr.strip()
