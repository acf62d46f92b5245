"""The image and the package: linted, built from the files they name, and run where there is nothing else.

No container engine takes part: see image_kit for what stands in for one, and for what it does not show.
"""

import json
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from deploy_kit import Tools
from image_kit import DOCKERFILE, ROOT, Room, build_wheel, image, install, room_is_possible
from ownership_stream import __version__

LOOK_ROUND = """
import json, os, sys, tempfile
def writable(path):
    try:
        open(os.path.join(path, "x"), "w").close()
    except OSError:
        return False
    return True
import ownership_stream, confluent_kafka
places = ["/", "/etc", "/usr", "/opt/ownership-stream", "/opt/ownership-stream/lib", os.getcwd(), "/dev", "/tmp"]
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({
    "user": [os.getuid(), os.geteuid(), os.getgid()], "groups": os.getgroups(), "pid": os.getpid(),
    "capabilities": [status[name].strip() for name in ("CapEff", "CapBnd")],
    "writable": [place for place in places if writable(place)],
    "variables": sorted(os.environ), "from": ownership_stream.__file__, "folder": os.getcwd(),
}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    return build_wheel(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it declares to need."""
    environment = tmp_path_factory.mktemp("installed") / "environment"
    install(wheel, environment)
    return environment


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Room:
    """The image's files in a room of their own."""
    if reason := room_is_possible():
        pytest.skip(f"needs a room of its own: {reason}")
    return Room(tmp_path_factory.mktemp("image"))


def test_the_dockerfile_passes_hadolint(tools: Tools) -> None:
    """Every rule, and no exception."""
    done = subprocess.run(
        [tools.hadolint, "--no-color", "--failure-threshold", "style", DOCKERFILE],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (0, "") == (done.returncode, done.stdout)


def test_hadolint_would_see_a_mistake(tools: Tools, tmp_path: Path) -> None:
    """The linter is there and judges: an image without a tag is named."""
    (tmp_path / "Dockerfile").write_text("FROM python\nUSER root\n")
    done = subprocess.run(
        [tools.hadolint, "--no-color", tmp_path / "Dockerfile"], capture_output=True, text=True, check=False
    )

    assert (1, True) == (done.returncode, "DL3006" in done.stdout)


def test_the_image_runs_as_the_user_that_the_chart_asks_for() -> None:
    """By its number, which Kubernetes needs to see that it is not root."""
    values = YAML(typ="safe").load((ROOT / "deploy/helm/ownership-stream/values.yaml").read_text(encoding="utf-8"))

    assert (values["runAsUser"], values["runAsUser"]) == (image().user, image().group)
    assert ["ownership-stream", "worker"] == image().command


def test_what_only_builds_is_taken_out_of_the_image() -> None:
    """The Dockerfile names each package that only the lock's build group brings."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]["build"]
    text = DOCKERFILE.read_text(encoding="utf-8")
    removed = set(text.partition("uninstall --yes ")[2].splitlines()[0].split())

    assert {line.partition(">")[0] for line in groups} <= removed
    assert {"editables", "hatchling", "pathspec", "pluggy", "trove-classifiers"} == removed


def test_the_wheel_carries_the_default_matrix_and_its_sources(wheel: Path) -> None:
    """Each file of matrix/, under the package, as it is in the tree; the type marker; the licence; no tests."""
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
        documents = {path.relative_to(ROOT / "matrix") for path in (ROOT / "matrix").rglob("*") if path.is_file()}
        same = {
            path
            for path in documents
            if packed.read(f"ownership_stream/documents/{path}") == (ROOT / "matrix" / path).read_bytes()
        }

    assert documents == same
    assert "ownership_stream/py.typed" in names
    assert f"ownership_stream-{__version__}.dist-info/licenses/LICENSE" in names
    assert [] == [name for name in names if not name.startswith(("ownership_stream/", "ownership_stream-"))]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["--version"], __version__),
        (["matrix", "check"], ""),
        (["matrix", "show"], "The ownership matrix: patient"),
        (["settings"], "ownership-stream"),
        (["worker", "--help"], "SIGTERM"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_the_installed_wheel_works_with_nothing_beside_what_it_declares(
    installed: Path, tmp_path: Path, command: list[str], words: str
) -> None:
    """In an empty folder, without the tree, without the tests' libraries: the default matrix is inside."""
    program = installed / "bin" / "ownership-stream"
    done = subprocess.run([program, *command], cwd=tmp_path, env={}, capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stderr
    assert words in done.stdout


def test_the_wheels_environment_has_nothing_of_the_tree(installed: Path) -> None:
    """Otherwise the tests above would show nothing."""
    look = "import importlib.util as u, ownership_stream as o; print(o.__file__); print(u.find_spec('pytest'))"
    done = subprocess.run(
        [installed / "bin" / "python", "-c", look], env={}, capture_output=True, text=True, check=True
    )

    assert [True, False, "None"] == [
        done.stdout.startswith(str(installed)),
        done.stdout.startswith(str(ROOT)),
        done.stdout.splitlines()[1],
    ]


def test_the_images_files_run_as_nobody_on_a_root_that_cannot_be_written(room: Room) -> None:
    """User, groups, capabilities, variables, folder: those of the Dockerfile; only /tmp can be written to."""
    seen = json.loads(room.run("python", "-c", LOOK_ROUND).stdout)

    assert {
        "user": [10001, 10001, 10001],
        "groups": [],
        "pid": 1,
        "capabilities": ["0" * 16, "0" * 16],
        "writable": ["/tmp"],  # noqa: S108 (the room's own)
        "variables": sorted({*image().variables}),
        "from": seen["from"],
        "folder": "/srv/ownership-stream",
    } == seen
    assert seen["from"].startswith("/opt/ownership-stream/lib/")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["--version"], __version__),
        (["matrix", "check"], ""),
        (["demo", "--seconds", "3"], "changes"),
    ],
    ids=lambda part: " ".join(part) if isinstance(part, list) else "",
)
def test_the_images_entry_point_works(room: Room, command: list[str], words: str) -> None:
    """What `docker run --rm --read-only --tmpfs /tmp ownership-stream …` would do."""
    done = room.run(image().command[0], *command)

    assert 0 == done.returncode, done.stdout + done.stderr
    assert words in done.stdout
