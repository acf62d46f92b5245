"""docker-compose.kafka.yml: it fits the schema, docker-compose takes it, and it says what the rest of the tree says.

No container engine takes part: that the images start is not shown here. The same parts run without containers in the
tests of the closed loop, in the versions that stand in the file.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from closed_loop.connectors import SOURCE, documented_sink
from closed_loop.forms import JSON_WITH_SCHEMA
from deploy_kit import ROOT, Tools
from image_kit import image
from integration.registry import VERSION as REGISTRY_VERSION
from ownership_stream.assembly import documents
from ownership_stream.settings import load
from ownership_stream.topics import owned_topics

FILE = ROOT / "docker-compose.kafka.yml"
OURS = ROOT / "deploy" / "compose"
HURRIED = {"slot.max.retries", "slot.retry.delay.ms", "incremental.snapshot.chunk.size", "poll.interval.ms"}
"""What the connectors of the tests have so that everything comes sooner."""
PASSED_ON = {"topics", "source-topics", "connectors"}
"""Services that do one thing and end."""


@pytest.fixture(scope="module")
def services(tools: Tools) -> dict[str, Any]:
    """Every service of every profile, as docker-compose reads the file: anchors and variables filled in."""
    command = [tools.compose, "--file", FILE, "--profile", "*", "config", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})
    assert 0 == done.returncode, done.stderr
    assert "" == done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["services"]
    return found


def test_the_file_fits_the_compose_schema(tools: Tools) -> None:
    """That of the compose specification; and the schema can say no."""
    schema = json.loads(tools.compose_schema.read_text(encoding="utf-8"))
    document = YAML(typ="safe").load(FILE.read_text(encoding="utf-8"))
    wrong = document | {"services": document["services"] | {"kafka": {"imag": "apache/kafka"}}}

    assert [] == [f"{one.json_path}: {one.message}" for one in Draft202012Validator(schema).iter_errors(document)]
    assert list(Draft202012Validator(schema).iter_errors(wrong))


def test_every_part_of_the_installation_is_there(services: dict[str, Any]) -> None:
    """The loop starts without a word; what watches it, the registry and the browser of topics by their profiles."""
    profiles: dict[str, set[str]] = {}
    for name, service in services.items():
        for profile in service.get("profiles", ["always"]):
            profiles.setdefault(profile, set()).add(name)

    assert {
        "always": {"kafka", "redis", "ehr-db", "crm-db", "connect", "worker", *PASSED_ON},
        "watch": {"prometheus", "grafana"},
        "avro": {"registry"},
        "ui": {"kafka-ui"},
    } == profiles


def test_every_port_is_this_machines_alone_and_no_two_are_the_same(services: dict[str, Any]) -> None:
    """Databases and topics with patients in them are never open to a network."""
    ports = [(name, port) for name, service in services.items() for port in service.get("ports", [])]

    assert [] == [name for name, port in ports if port.get("host_ip") != "127.0.0.1"]
    assert len(ports) == len({port["published"] for _, port in ports})


def test_every_image_has_a_tag_that_stays(services: dict[str, Any]) -> None:
    """A version with its last number, never `latest`; in both places where it stands."""
    images = {service["image"] for service in services.values()}

    assert [] == [one for one in images if not re.search(r":v?\d+\.\d+(\.\d+)?[.\w-]*$", one.rpartition("/")[2])]
    assert len(images) == len({one.rpartition(":")[0] for one in images})


def test_the_versions_are_those_that_the_tests_run(services: dict[str, Any]) -> None:
    """Kafka, Debezium and the registry, as the tests' poms and the tests of the registry name them; our image, too."""
    poms = "".join((ROOT / "tests" / name).read_text(encoding="utf-8") for name in ("pom.xml", "pom-connect.xml"))
    said = {name: services[name]["image"].rpartition(":")[2] for name in ("kafka", "connect", "registry", "worker")}
    chart = YAML(typ="safe").load((ROOT / "deploy/helm/ownership-stream/Chart.yaml").read_text(encoding="utf-8"))

    assert {said["kafka"]} == set(re.findall(r"<kafka.version>(.*)</", poms))
    assert {said["connect"]} == set(re.findall(r"<debezium.version>(.*)</", poms))
    assert (REGISTRY_VERSION, chart["appVersion"]) == (said["registry"], said["worker"])


def test_each_service_says_when_it_is_well_and_waits_for_those_it_needs(services: dict[str, Any]) -> None:
    """A health check, or an end; whoever waits, waits for the one or the other and not for a mere start."""
    for name, service in services.items():
        assert (name in PASSED_ON) == ("healthcheck" not in service), name
        assert ("no" if name in PASSED_ON else "unless-stopped") == service["restart"], name
        for other, how in service.get("depends_on", {}).items():
            ended = "service_completed_successfully" if other in PASSED_ON else "service_healthy"
            assert ended == how["condition"], f"{name} waits for {other}"


def test_every_file_that_is_mounted_is_in_the_tree_and_cannot_be_written(services: dict[str, Any]) -> None:
    """A missing one would become an empty folder of root's."""
    binds = [
        (name, volume)
        for name, one in services.items()
        for volume in one.get("volumes", [])
        if volume["type"] == "bind"
    ]

    assert len(binds) >= 8
    assert [] == [volume["source"] for _, volume in binds if not Path(volume["source"]).exists()]
    assert [] == [volume["source"] for _, volume in binds if not volume.get("read_only")]


@pytest.mark.parametrize("name", ["worker", "topics"])
def test_our_program_runs_as_tightly_as_in_a_cluster(services: dict[str, Any], name: str) -> None:
    """A root nobody can write to, no capabilities, the image's own user; a stop is given its time."""
    service = services[name]

    assert (True, ["ALL"], ["no-new-privileges:true"]) == (
        service["read_only"],
        service["cap_drop"],
        service["security_opt"],
    )
    assert "user" not in service
    assert name != "worker" or "1m40s" == service["stop_grace_period"]


@pytest.mark.parametrize("mode", ["enforce", "observe"])
@pytest.mark.parametrize("wire", ["json", "avro"])
def test_the_worker_takes_its_settings(services: dict[str, Any], tmp_path: Path, mode: str, wire: str) -> None:
    """Every name known; the sources' topics are those that the file makes, and the matrix goes with the mappings."""
    (tmp_path / "hash_key").write_text((OURS / "secrets" / "hash_key").read_text(encoding="utf-8"))
    said = services["worker"]["environment"] | {
        "OWNERSHIP_SECRETS_DIR": str(tmp_path),
        "OWNERSHIP_SOURCES_PATH": str(OURS / "sources"),
        "OWNERSHIP_MATRIX_PATH": str(ROOT / "matrix" / "patient.yaml"),
        "OWNERSHIP_MODE": mode,
        "OWNERSHIP_WIRE": wire,
    }
    settings = load(environ=image().variables | said).settings
    _, mappings = documents(settings)
    made = " ".join(services["source-topics"]["command"])

    assert "for-a-first-look" in (settings.hash_key.get_secret_value() if settings.hash_key else "")
    assert {1} == {topic.replication for topic in owned_topics(settings)}
    assert [True, True] == [topic in made for mapping in mappings for topic in mapping.topics]
    assert set(services["worker"]["environment"]) == set(services["topics"]["environment"])


@pytest.mark.parametrize(
    ("system", "shipped"), [("ehr", "matrix/sources/ehr.yaml"), ("crm", "matrix/sources/examples/crm-postgresql.yaml")]
)
def test_the_mappings_are_the_shipped_ones_but_for_the_sinks_form(system: str, shipped: str) -> None:
    """Apply records for the JDBC sinks, and a link that is no Salesforce id, since the CRM here is PostgreSQL."""
    theirs = (ROOT / shipped).read_text(encoding="utf-8").replace("crm_id as salesforce id", "crm_id")
    ours = (OURS / "sources" / f"{system}.yaml").read_text(encoding="utf-8")

    def lines(text: str) -> list[str]:
        return [line for line in text.splitlines() if line and not line.startswith(("#", "apply as:"))]

    assert lines(theirs) == lines(ours)
    assert "apply as: json with schema" in ours.splitlines()


@pytest.mark.parametrize("system", ["ehr", "crm"])
def test_the_connectors_are_those_of_the_docs_and_of_the_closed_loop(services: dict[str, Any], system: str) -> None:
    """The sources as the closed loop's tests run them, the sinks as docs/sinks.md has them: but for the addresses."""
    source, sink = (
        json.loads((OURS / "connectors" / f"{system}-{kind}.json").read_text(encoding="utf-8"))
        for kind in ("source", "sink")
    )
    run = {name: value for name, value in (SOURCE | JSON_WITH_SCHEMA.source).items() if name not in HURRIED}
    documented = documented_sink()
    moved = {"topics", "connection.url", "connection.password", "collection.name.format", "insert.mode"}

    assert [] == [
        name for name, value in run.items() if not name.endswith(("hostname", "password")) and source[name] != value
    ]
    assert [] == [name for name, value in documented.items() if name not in moved and sink[name] != value]
    assert (f"apply.{system}", "update") == (sink["topics"], sink["insert.mode"])
    assert f"{system}-db" == source["database.hostname"]
    assert sink["connection.url"].startswith(f"jdbc:postgresql://{system}-db/{system}?")
    assert {source["database.password"]} == {services[f"{system}-db"]["environment"]["POSTGRES_PASSWORD"]}
    assert f"PASSWORD '{sink['connection.password']}'" in (OURS / "accounts.sql").read_text(encoding="utf-8")
    named = services["connectors"]["command"][0].partition(" in ")[2].partition(";")[0].split()
    assert {f"{system}-source", f"{system}-sink"} <= set(named)


def test_kafka_keeps_what_a_transaction_needs_on_one_broker(services: dict[str, Any]) -> None:
    """Each replicated topic of its own is kept once; no topic is made by mistake."""
    said = services["kafka"]["environment"]
    replicas = {name: value for name, value in said.items() if name.endswith(("REPLICATION_FACTOR", "MIN_ISR"))}
    listeners = {part.partition("://")[0] for part in said["KAFKA_LISTENERS"].split(",")}
    mapped = {part.partition(":")[0] for part in said["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")}

    assert (3, {"1"}) == (len(replicas), set(replicas.values()))
    assert "false" == said["KAFKA_AUTO_CREATE_TOPICS_ENABLE"]
    assert listeners == mapped


def test_prometheus_takes_its_configuration_with_all_rules(tools: Tools, tmp_path: Path) -> None:
    """`promtool check config`, with the paths of the container led to the tree."""
    text = (OURS / "prometheus.yml").read_text(encoding="utf-8")
    (tmp_path / "prometheus.yml").write_text(
        text.replace("/etc/prometheus/ownership", str(ROOT / "deploy" / "prometheus"))
    )
    done = subprocess.run(
        ["promtool", "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stdout + done.stderr
    assert len(list((ROOT / "deploy" / "prometheus").glob("*.rules.yaml"))) == done.stdout.count("rules found")


def test_grafana_finds_its_source_and_the_dashboards(services: dict[str, Any]) -> None:
    """The files that it is provisioned by lead to the Prometheus of the file, and to the folder that is mounted."""
    source = YAML(typ="safe").load((OURS / "grafana/datasources/prometheus.yaml").read_text(encoding="utf-8"))
    boards = YAML(typ="safe").load((OURS / "grafana/dashboards/ownership.yaml").read_text(encoding="utf-8"))
    mounts = {volume["target"]: Path(volume["source"]) for volume in services["grafana"]["volumes"]}
    shown = mounts[boards["providers"][0]["options"]["path"]]

    assert ["http://prometheus:9090"] == [one["url"] for one in source["datasources"]]
    assert source["datasources"][0]["isDefault"]
    assert {path.name for path in (ROOT / "deploy" / "grafana").glob("*.json")} == {
        p.name for p in shown.glob("*.json")
    }
    assert {OURS / "grafana" / name for name in ("datasources", "dashboards")} <= set(mounts.values())
