"""Settings: where a value comes from, which wins, what is refused, and what is never shown."""

import ssl
from pathlib import Path

import pytest
from pydantic import SecretStr

from ownership_stream.errors import BadInputError
from ownership_stream.settings import (
    Mode,
    SecurityProtocol,
    Settings,
    aiokafka_config,
    describe,
    librdkafka_config,
    load,
)


def refused(**sources: object) -> list[str]:
    """The lines with which `load` refuses these sources."""
    with pytest.raises(BadInputError) as caught:
        load(**{"environ": {}, **sources})  # type: ignore[arg-type]  # each test gives the right type by name
    return list(caught.value.problems)


def test_plain_settings_read_nothing_of_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """`Settings()` is defaults only, whatever the environment says."""
    monkeypatch.setenv("OWNERSHIP_BROKERS", "elsewhere:9092")

    assert "localhost:9092" == Settings().brokers


def test_later_sources_win_over_earlier_ones(tmp_path: Path) -> None:
    """Default, file, secrets directory, environment, flag: each wins over the ones before it and is named."""
    file = tmp_path / "settings.toml"
    file.write_text('brokers = "file:1"\napp_id = "file"\nsasl_username = "file"\nhttp_port = 1\n')
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "app_id").write_text("secret\n")
    (secrets / "OWNERSHIP_HTTP_PORT").write_text("2")
    (secrets / "sasl_password").write_text("hush")
    environ = {"OWNERSHIP_HTTP_PORT": "3", "OWNERSHIP_SECURITY_PROTOCOL": "SASL_SSL", "OWNERSHIP_MODE": "observe"}

    loaded = load(file=file, secrets_dir=secrets, environ=environ, flags={"mode": "enforce"})

    values = [getattr(loaded.settings, n) for n in ("partitions", "brokers", "app_id", "http_port", "mode")]
    assert [8, "file:1", "secret", 3, Mode.ENFORCE] == values
    origins = [loaded.origins.get(n) for n in ("partitions", "brokers", "app_id", "http_port", "mode")]
    assert [None, f"file {file}", f"secret in {secrets}", "environment", "flag"] == origins


def test_the_file_and_the_secrets_directory_can_be_named_by_the_environment(tmp_path: Path) -> None:
    """`OWNERSHIP_SETTINGS` and `OWNERSHIP_SECRETS_DIR` stand in for the two options."""
    (tmp_path / "s.toml").write_text('app_id = "clinic"')
    (tmp_path / "hash_key").write_text("k")
    environ = {"OWNERSHIP_SETTINGS": str(tmp_path / "s.toml"), "OWNERSHIP_SECRETS_DIR": str(tmp_path)}

    settings = load(environ=environ).settings

    assert ("clinic", SecretStr("k")) == (settings.app_id, settings.hash_key)


def test_a_mapping_is_set_as_json_or_by_its_parts() -> None:
    """A source's epoch can be raised in either spelling."""
    as_json = load(environ={"OWNERSHIP_SOURCE_EPOCH": '{"ehr": 2}'}).settings
    by_part = load(environ={"OWNERSHIP_SOURCE_EPOCH__EHR": "2"}).settings

    assert {"ehr": 2} == as_json.source_epoch == by_part.source_epoch


def test_an_empty_variable_counts_as_not_set() -> None:
    """Templates write empty variables for what they were not given."""
    assert None is load(environ={"OWNERSHIP_SASL_USERNAME": ""}).settings.sasl_username


def test_every_wrong_value_is_named_at_once_with_its_origin() -> None:
    """All mistakes are reported together, each in a line that says which setting, where from and what is wrong."""
    lines = refused(environ={"OWNERSHIP_MODE": "enforec", "OWNERSHIP_HTTP_PORT": "x"}, flags={"partitions": "0"})

    assert [
        "setting `mode` (environment): input should be `enforce` or `observe`, not `enforec`",
        "setting `partitions` (flag): input should be greater than or equal to 1, not `0`",
        (
            "setting `http_port` (environment): input should be a valid integer, "
            "unable to parse string as an integer, not `x`"
        ),
    ] == lines


def test_an_unknown_setting_is_refused_with_the_nearest_name() -> None:
    """A typing mistake in a name must not be a setting silently ignored."""
    assert ["unknown setting `OWNERSHIP_BROKRS` in the environment: did you mean `OWNERSHIP_BROKERS`?"] == refused(
        environ={"OWNERSHIP_BROKRS": "a:1"}
    )


def test_an_unknown_setting_in_the_file_is_refused_too(tmp_path: Path) -> None:
    """The file is checked like the environment, in its own spelling."""
    (tmp_path / "s.toml").write_text('http_prt = 1\nzzzz = "?"')

    assert [
        f"unknown setting `http_prt` in settings file `{tmp_path}/s.toml`: did you mean `http_port`?",
        f"unknown setting `zzzz` in settings file `{tmp_path}/s.toml`: `ownership-stream settings` lists all",
    ] == refused(file=tmp_path / "s.toml")


@pytest.mark.parametrize(
    "variable",
    ["OWNERSHIP_SERVICE_HOST", "OWNERSHIP_STREAM_SERVICE_PORT_HTTP", "OWNERSHIP_PORT", "OWNERSHIP_PORT_6066_TCP_ADDR"],
)
def test_variables_that_kubernetes_makes_for_a_service_are_no_settings(variable: str) -> None:
    """A service called `ownership` or `ownership-stream` puts such variables into every pod of its namespace."""
    assert Settings() == load(environ={variable: "tcp://10.0.0.1:6066"}).settings


def test_variables_of_the_tests_are_no_settings() -> None:
    """What begins with `OWNERSHIP_TEST_` is read by the tests."""
    assert Settings() == load(environ={"OWNERSHIP_TEST_BROKER": "a:1"}).settings


@pytest.mark.parametrize("name", sorted(Settings.SECRETS))
def test_a_secret_is_not_taken_from_a_flag(name: str) -> None:
    """Every user of a machine can read the arguments of its processes."""
    (line,) = refused(flags={name: "hush"})

    assert line.startswith(f"`{name}` is a secret")
    assert "hush" not in line


def test_every_setting_that_holds_a_secret_is_known_as_one() -> None:
    """The list of secrets is the list of fields of a secret type."""
    typed = {n for n, f in Settings.model_fields.items() if "SecretStr" in str(f.annotation)}

    assert Settings.SECRETS == typed


def test_no_message_and_no_row_shows_a_secret(tmp_path: Path) -> None:
    """A wrong or a right value of a secret is never printed, save where the Redis address leads."""
    environ = {
        "OWNERSHIP_REDIS_URL": "rediss://user:hush@redis.example:6380/1?password=hush",
        "OWNERSHIP_HASH_KEY": "hush",
        "OWNERSHIP_SASL_PASSWORD": "hush",
        "OWNERSHIP_SASL_USERNAME": "me",
        "OWNERSHIP_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    }
    rows = {name: value for name, value, _ in load(environ=environ).rows()}

    assert "rediss://***@redis.example:6380/1?***" == rows["redis_url"]
    assert "hush" not in str(rows)
    assert "hush" not in repr(load(environ=environ))
    assert "hush" not in str(refused(environ={"OWNERSHIP_REDIS_URL": "http://hush"}))


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        (
            {"OWNERSHIP_SECURITY_PROTOCOL": "SASL_SSL"},
            "settings: `security_protocol` SASL_SSL needs `sasl_username` and `sasl_password`",
        ),
        (
            {"OWNERSHIP_SASL_USERNAME": "me"},
            "settings: `sasl_username` and `sasl_password` have no effect with `security_protocol` PLAINTEXT",
        ),
        (
            {"OWNERSHIP_TLS_CA_PATH": "ca.pem"},
            "settings: `tls_ca_path` and `tls_certificate_path` have no effect with `security_protocol` PLAINTEXT",
        ),
        (
            {"OWNERSHIP_SECURITY_PROTOCOL": "SSL", "OWNERSHIP_TLS_CERTIFICATE_PATH": "c.pem"},
            "settings: `tls_certificate_path` and `tls_key_path` go together",
        ),
        (
            {"OWNERSHIP_MESSAGE_TIMEOUT_SECONDS": "11"},
            "settings: `message_timeout_seconds` must not be above `transaction_timeout_seconds`",
        ),
        (
            {"OWNERSHIP_REPLICATION_FACTOR": "1"},
            "settings: `min_insync_replicas` must not be above `replication_factor`",
        ),
        (
            {"OWNERSHIP_SOURCE_EPOCH": "2"},
            "setting `source_epoch` (environment): input should be a valid dictionary, not `2`",
        ),
        (
            {"OWNERSHIP_SOURCE_EPOCH": "ehr"},
            '`OWNERSHIP_SOURCE_EPOCH` in the environment is not JSON: write an object such as {"ehr": 1}',
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(environ: dict[str, str], line: str) -> None:
    """What would fail later, or silently do nothing, is refused at start."""
    assert [line] == refused(environ=environ)


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A missing file, a file that is no TOML and a directory that is none are three clear lines."""
    broken = tmp_path / "broken.toml"
    broken.write_text("brokers =")

    assert [f"settings file `{tmp_path}/none` cannot be read: No such file or directory"] == refused(
        file=tmp_path / "none"
    )
    assert [f"settings file `{broken}` is not TOML: invalid value (at end of document)"] == refused(file=broken)
    assert [f"secrets directory `{broken}` is no directory: give one with a file per secret"] == refused(
        secrets_dir=broken
    )


def test_both_kafka_clients_are_given_the_same_access() -> None:
    """One set of settings says the same to librdkafka and to aiokafka."""
    settings = Settings(
        brokers="a:1,b:2",
        security_protocol=SecurityProtocol.SASL_SSL,
        sasl_username="me",
        sasl_password=SecretStr("hush"),
    )
    ours = aiokafka_config(settings)

    assert {
        "bootstrap.servers": "a:1,b:2",
        "client.id": "ownership-stream",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "me",
        "sasl.password": "hush",
    } == librdkafka_config(settings)
    assert ssl.CERT_REQUIRED == ours.pop("ssl_context").verify_mode
    assert {
        "bootstrap_servers": "a:1,b:2",
        "client_id": "ownership-stream",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "me",
        "sasl_plain_password": "hush",
    } == ours


def test_tls_files_go_to_librdkafka_by_name_and_to_aiokafka_as_a_context(tmp_path: Path) -> None:
    """Librdkafka reads the files itself; a file that cannot be used is refused before aiokafka sees it."""
    settings = Settings(
        security_protocol=SecurityProtocol.SSL,
        tls_ca_path=tmp_path / "ca.pem",
        tls_certificate_path=tmp_path / "c.pem",
        tls_key_path=tmp_path / "k.pem",
        tls_key_password=SecretStr("hush"),
    )

    assert {
        "ssl.ca.location": f"{tmp_path}/ca.pem",
        "ssl.certificate.location": f"{tmp_path}/c.pem",
        "ssl.key.location": f"{tmp_path}/k.pem",
        "ssl.key.password": "hush",
    }.items() <= librdkafka_config(settings).items()
    with pytest.raises(BadInputError, match=r"`tls_ca_path`.* cannot be used: No such file or directory"):
        aiokafka_config(settings)


def test_every_setting_says_what_it_is_for() -> None:
    """A setting without a description is one that nobody can use; secrets are marked."""
    assert [] == [setting.name for setting in describe() if not setting.meaning]
    assert Settings.SECRETS == {setting.name for setting in describe() if setting.secret}


def test_the_topic_of_a_system_is_made_from_the_prefix() -> None:
    """`apply.ehr` and `apply.crm` by default."""
    assert "apply.ehr" == Settings().topic_apply("ehr")
