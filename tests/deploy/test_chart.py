"""The Helm chart: Kubernetes takes what it renders, pods may do as little as can be, typing errors are refused."""

import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from ruamel.yaml import YAML

from deploy_kit import CHART, KUBERNETES, ROOT, SHAPES, Manifest, Tools, mistakes, placeholders, pods, refusal, rendered
from ownership_stream import __version__
from ownership_stream.settings import Settings, load

PLAIN, SASL, OBSERVE = (next(one for one in SHAPES if one.name.startswith(name)) for name in ("pl", "sa", "ob"))
SHAPE = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name.removesuffix("-values.yaml"))


def generator() -> ModuleType:
    """deploy/helm/generate.py, which is no package."""
    spec = importlib.util.spec_from_file_location("generate_chart", ROOT / "deploy" / "helm" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def of(manifests: list[Manifest], kind: str) -> list[Manifest]:
    """The manifests of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def one(manifests: list[Manifest], kind: str) -> Manifest:
    """The only manifest of its kind."""
    (only,) = of(manifests, kind)
    return only


@SHAPE
def test_the_chart_passes_helms_linter_in_every_shape(tools: Tools, shape: Path) -> None:
    """`helm lint --strict`: a warning is a failure."""
    done = subprocess.run(
        [tools.helm, "lint", "--strict", CHART, "--values", shape], capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stdout + done.stderr


@SHAPE
def test_kubernetes_knows_every_field_of_every_manifest(tools: Tools, shape: Path) -> None:
    """Each by its kind's schema, in the oldest version that the chart names and in the newest; custom ones, too."""
    manifests = rendered(tools, "--values", shape)

    assert [] == [
        f"{version}: {mistake}"
        for version in KUBERNETES
        for manifest in manifests
        for mistake in mistakes(manifest, tools.kubernetes, version)
    ]


@pytest.mark.parametrize(
    "kind", ["Deployment", "PodMonitor", "PrometheusRule", "ScaledObject", "TriggerAuthentication"]
)
def test_a_wrong_manifest_of_each_kind_is_seen(tools: Tools, kind: str) -> None:
    """What judges the manifests can say no: an unknown field, and one that is missing or of another type."""
    manifest = of(rendered(tools, "--values", SASL), kind)[0]
    extra = manifest | {"spec": manifest["spec"] | {"tpyo": 1}}
    wrong = manifest | {"spec": "none"}

    for bad in (extra, wrong):
        assert mistakes(bad, tools.kubernetes, KUBERNETES[-1])


def test_the_shapes_together_render_every_template(tools: Tools) -> None:
    """No template is left that no test has seen: what the files of ci/ turn on is all there is."""
    text = "".join(
        subprocess.run(
            [tools.helm, "template", "here", CHART, "--values", shape], capture_output=True, text=True, check=True
        ).stdout
        for shape in SHAPES
    )
    templates = [path.relative_to(CHART) for path in sorted((CHART / "templates").rglob("*.yaml"))]

    assert [] == [path for path in templates if f"# Source: ownership-stream/{path}" not in text]


@SHAPE
def test_every_pod_is_as_restricted_as_kubernetes_can_make_it(tools: Tools, shape: Path) -> None:
    """Pod Security "restricted", and more: no token, no service links, a root nobody can write to."""
    seen = 0
    for name, pod in pods(rendered(tools, "--values", shape)):
        seen += 1
        security = pod["securityContext"]
        assert (False, False) == (pod["automountServiceAccountToken"], pod["enableServiceLinks"]), name
        assert (True, "RuntimeDefault") == (security["runAsNonRoot"], security["seccompProfile"]["type"]), name
        assert 0 not in {security["runAsUser"], security["runAsGroup"], security["fsGroup"]}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
        for container in pod["containers"] + pod.get("initContainers", []):
            assert {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            } == container["securityContext"], name
            assert {"requests", "limits"} == set(container["resources"]), name
            (tmp,) = [mount for mount in container["volumeMounts"] if not mount.get("readOnly")]
            assert "/tmp" == tmp["mountPath"], name  # noqa: S108 (the pod's own)
        assert {"emptyDir", "projected", "configMap"} >= {key for v in pod["volumes"] for key in v if key != "name"}, (
            name
        )
    assert seen >= 2


@SHAPE
def test_a_stopping_worker_is_given_its_grace(tools: Tools, shape: Path) -> None:
    """The pod is killed only after the worker's own two time limits; the program is the container's first process."""
    pod = one(rendered(tools, "--values", shape), "Deployment")["spec"]["template"]["spec"]

    assert pod["terminationGracePeriodSeconds"] >= 90
    assert (["worker"], False) == (pod["containers"][0]["args"], "command" in pod["containers"][0])


def environment(manifests: list[Manifest]) -> dict[str, str]:
    """The variables of the workers."""
    config = next(m for m in of(manifests, "ConfigMap") if "OWNERSHIP_BROKERS" in m["data"])
    data: dict[str, str] = config["data"]
    return data


def mounted(pod: Manifest, folder: str) -> dict[str, tuple[str, str]]:
    """File -> (its secret, key) of a folder of the first container."""
    volume = next(m["name"] for m in pod["containers"][0]["volumeMounts"] if m["mountPath"] == folder)
    sources = next(v for v in pod["volumes"] if v["name"] == volume).get("projected", {}).get("sources", [])
    return {
        item["path"]: (source["secret"]["name"], item["key"])
        for source in sources
        for item in source["secret"]["items"]
    }


@SHAPE
def test_the_program_takes_the_settings_that_the_chart_gives(tools: Tools, shape: Path, tmp_path: Path) -> None:
    """Loaded as a pod would, with a file for each secret: every name known, every combination allowed."""
    manifests = rendered(tools, "--values", shape)
    pod = one(manifests, "Deployment")["spec"]["template"]["spec"]
    for name in mounted(pod, "/etc/ownership-stream/secrets"):
        (tmp_path / name).write_text("redis://user:secret@redis:6379/0" if name == "redis_url" else "secret")
    loaded = load(environ=environment(manifests) | {"OWNERSHIP_SECRETS_DIR": str(tmp_path)}).settings

    assert ("0.0.0.0", 6066) == (loaded.http_host, loaded.http_port)  # noqa: S104 (inside the pod)
    for name, value in (YAML(typ="safe").load(shape.read_text(encoding="utf-8")).get("settings") or {}).items():
        assert value == json.loads(loaded.model_dump_json())[name], name


def test_secrets_come_as_files_and_stand_nowhere_else(tools: Tools) -> None:
    """Of SASL, TLS, Redis, registry and hash key only names of secrets are rendered, in all three kinds of pod."""
    manifests = rendered(tools, "--values", SASL)
    files = {
        "sasl_username": ("ownership-stream-kafka", "username"),
        "sasl_password": ("ownership-stream-kafka", "password"),
        "tls_key_password": ("ownership-stream-client", "user.password"),
        "redis_url": ("ownership-stream-redis", "redis-url"),
        "registry_user": ("ownership-stream-registry", "username"),
        "registry_password": ("ownership-stream-registry", "password"),
        "hash_key": ("ownership-stream-hash-key", "hash-key"),
    }
    certificates = {
        "ca.crt": ("main-cluster-ca-cert", "ca.crt"),
        "client.crt": ("ownership-stream-client", "user.crt"),
        "client.key": ("ownership-stream-client", "user.key"),
        "registry-ca.crt": ("registry-ca", "ca.crt"),
    }

    for name, pod in pods(manifests):
        assert files == mounted(pod, "/etc/ownership-stream/secrets"), name
        assert certificates == mounted(pod, "/etc/ownership-stream/tls"), name
    assert [] == of(manifests, "Secret")
    assert set() == Settings.SECRETS & {name.removeprefix("OWNERSHIP_").lower() for name in environment(manifests)}


def test_every_setting_has_one_place_in_the_chart() -> None:
    """By its name under `settings`, or as a value of its own that the templates hand on, as files and secrets are.

    But for those of the pages, which the chart does not run.
    """
    placed = generator().PLACED
    templates = "".join(
        path.read_text(encoding="utf-8") for path in sorted((CHART / "templates").iterdir()) if path.is_file()
    )
    handed = placeholders(templates) | {name for name in placed if f"path: {name}}}" in templates}
    named = set(generator().settings_schema()["properties"])

    assert set() == set(placed) - handed, "templates/_helpers.tpl hands these on to nobody"
    assert set(Settings.model_fields) == named | placed | generator().OF_PAGES
    assert [] == [name for name in named if name.endswith("_path")], "a file needs a mount: place it in the chart"


@pytest.mark.parametrize("name", ["README.md", "values.schema.json"])
def test_what_is_made_of_the_values_and_settings_is_up_to_date(name: str) -> None:
    """`make docs` was run after the last change."""
    assert generator().FILES[name]() == (CHART / name).read_text(encoding="utf-8"), "run `make docs`"


def test_every_value_says_what_it_is_for() -> None:
    """The README has a meaning for each."""
    rows = [row for row in generator().readme().splitlines() if row.startswith("| `")]

    assert len(rows) > 80
    assert [] == [row for row in rows if row.endswith("|  |")]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("replicaCoun=3", "replicaCoun"),
        ("kafka.broker=a:1", "broker"),
        ("settings.batch_max_record=5", "batch_max_record"),
        ("settings.mode=obey", "observe"),
        ("settings.partitions=none", "partitions"),
        ("settings.sasl_password=secret", "sasl_password"),
        ("settings.http_port=80", "http_port"),
        ("kafka.brokers=kafka", "brokers"),
        ("kafka.securityProtocol=SASL_SSL", "existingSecret"),
        ("kafka.sasl.existingSecret=left-over", "existingSecret"),
        ("kafka.tls.caSecret=left-over", "caSecret"),
        ("redis.url=redis://:secret@redis:6379", "/redis/url"),
        ("redis.existingSecret=too", "/redis"),
        ("redis.url=", "/redis"),
        ("registry.existingSecret=left-over", "/registry"),
        ("podDisruptionBudget.minAvailable=1,podDisruptionBudget.maxUnavailable=1", "/podDisruptionBudget"),
        ("replicaCount=0", "replicaCount"),
        ("runAsUser=0", "runAsUser"),
        ("replicaCount=9", "`replicaCount` 9 is above `settings.partitions` 8"),
        ("keda.enabled=true,keda.minReplicaCount=0", "minReplicaCount"),
        ("keda.enabled=true,keda.maxReplicaCount=9", "`keda.maxReplicaCount` 9 is above `settings.partitions` 8"),
        ("terminationGracePeriodSeconds=80", "`terminationGracePeriodSeconds` 80 is below 90"),
        ("settings.shutdown_grace_seconds=120", "`terminationGracePeriodSeconds` 100 is below 150"),
    ],
)
def test_a_value_that_cannot_be_is_refused_before_anything_is_installed(tools: Tools, values: str, words: str) -> None:
    """Typing errors, secrets in the open, and what contradicts itself; the message names the value."""
    assert words in refusal(tools, "--values", PLAIN, "--set", values)


def test_without_brokers_and_redis_nothing_is_rendered(tools: Tools) -> None:
    """There is no address that would be right for everybody."""
    told = refusal(tools)

    assert "/kafka/brokers" in told
    assert "/redis" in told


def test_a_change_of_settings_or_documents_starts_workers_anew_and_another_does_not(tools: Tools) -> None:
    """The pod template carries a checksum of what is in the ConfigMaps."""

    def checksum(*values: str) -> Any:
        made = rendered(tools, "--values", PLAIN, *(part for value in values for part in ("--set", value)))
        return one(made, "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    same, settings, matrix = (
        checksum("replicaCount=3"),
        checksum("settings.log_level=debug"),
        checksum("documents.matrix=x"),
    )

    assert checksum() == same
    assert 3 == len({same, settings, matrix})


def test_selectors_stay_the_same_over_versions_of_the_chart(tools: Tools, tmp_path: Path) -> None:
    """A selector cannot be changed, and the chart's version is in no label that one asks for."""
    other = tmp_path / "ownership-stream"
    shutil.copytree(CHART, other)
    meta = (other / "Chart.yaml").read_text(encoding="utf-8")
    (other / "Chart.yaml").write_text(meta.replace("version: 0.1.0\nappVersion", "version: 9.9.9\nappVersion"))
    newer = subprocess.run(
        [tools.helm, "template", "here", other, "--namespace", "patients", "--values", PLAIN],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    selectors = [
        (one(made, "Deployment")["spec"], one(made, "PodDisruptionBudget")["spec"]["selector"])
        for made in (rendered(tools, "--values", PLAIN), [m for m in YAML(typ="safe").load_all(newer) if m])
    ]

    assert "ownership-stream-9.9.9" in newer
    assert selectors[0] == selectors[1]


def test_rules_and_dashboards_are_those_of_the_tree(tools: Tools) -> None:
    """Each file of deploy/prometheus and deploy/grafana, to the letter, but for where the runbooks are served."""
    manifests = rendered(tools, "--values", SASL)
    base = "https://git.example.org/ownership-stream/"
    rules = {
        path.name.removesuffix(".rules.yaml"): YAML(typ="safe").load(
            path.read_text(encoding="utf-8").replace("runbook_url: docs/", f"runbook_url: {base}docs/")
        )
        for path in (ROOT / "deploy" / "prometheus").glob("*.rules.yaml")
    }
    shown = {
        path.name: json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "deploy" / "grafana").glob("*.json")
    }
    boards = [m for m in of(manifests, "ConfigMap") if "grafana_dashboard" in m["metadata"]["labels"]]

    assert len(rules) >= 3
    assert rules == {
        m["metadata"]["name"].removeprefix("here-ownership-stream-"): m["spec"] for m in of(manifests, "PrometheusRule")
    }
    assert shown == {name: json.loads(text) for board in boards for name, text in board["data"].items()}
    assert {"1"} == {board["metadata"]["labels"]["grafana_dashboard"] for board in boards}


def test_the_packed_chart_carries_the_rules_and_nothing_else_of_their_folders(tools: Tools, tmp_path: Path) -> None:
    """`helm package` follows the links into deploy/; rules' tests and the dashboards' program stay at home."""
    subprocess.run([tools.helm, "package", CHART, "--destination", tmp_path], capture_output=True, check=True)
    (archive,) = tmp_path.glob("*.tgz")
    listed = subprocess.run(["tar", "tzf", archive], capture_output=True, text=True, check=True).stdout.split()
    inside = {Path(name).relative_to("ownership-stream/files") for name in listed if "/files/" in name}
    there = [*(ROOT / "deploy").glob("prometheus/*.yaml"), *(ROOT / "deploy").glob("grafana/*.json")]

    assert {path.relative_to(ROOT / "deploy") for path in there} == inside
    assert (
        f"ownership-stream-{YAML(typ='safe').load((CHART / 'Chart.yaml').read_text())['version']}.tgz" == archive.name
    )


def test_the_chart_is_of_the_programs_version() -> None:
    """`appVersion` is the image's tag unless another is given."""
    meta = YAML(typ="safe").load((CHART / "Chart.yaml").read_text(encoding="utf-8"))

    assert ("v2", __version__) == (meta["apiVersion"], meta["appVersion"])
    assert f">={KUBERNETES[0]}.0-0" == meta["kubeVersion"]


def test_keda_may_not_take_more_workers_than_there_are_lanes_and_never_all(tools: Tools) -> None:
    """As many as partitions, at least one, by the lag of the group that decides; it logs in with the same secrets."""
    made = rendered(tools, "--values", SASL)
    spec = one(made, "ScaledObject")["spec"]
    asked = one(made, "TriggerAuthentication")["spec"]["secretTargetRef"]
    (trigger,) = spec["triggers"]

    assert (2, 24) == (spec["minReplicaCount"], spec["maxReplicaCount"])
    assert "replicas" not in one(made, "Deployment")["spec"]
    assert {
        "bootstrapServers": "main-kafka-bootstrap.kafka.svc:9093",
        "consumerGroup": "ownership-stream",
        "topic": "ownership.changes",
        "lagThreshold": "5000",
        "allowIdleConsumers": "false",
        "sasl": "scram_sha512",
        "tls": "enable",
    } == trigger["metadata"]
    assert {"username", "password", "ca", "cert", "key", "keyPassword"} == {target["parameter"] for target in asked}


def test_the_network_policy_lets_out_only_what_a_worker_needs(tools: Tools) -> None:
    """DNS, the named ports, and what is added; in only by the port of /metrics, from the named peers."""
    spec = one(rendered(tools, "--values", SASL), "NetworkPolicy")["spec"]
    ports = [{port["port"] for port in rule["ports"]} for rule in spec["egress"]]

    assert [{53}, {9093, 6380}, {443}] == ports
    assert ["Ingress", "Egress"] == spec["policyTypes"]
    assert [["http"]] == [[port["port"] for port in rule["ports"]] for rule in spec["ingress"]]
    assert "monitoring" in json.dumps(spec["ingress"][0]["from"])
