"""Every setting: its name, type, default, bounds and meaning, and which of them contradict each other.

`Settings()` is plain defaults and reads nothing. No setting changes how a field is decided: that is the
matrix's.
"""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

PREFIX: Final = "OWNERSHIP_"
NESTED: Final = "__"
LEAST_SECRET: Final = 32


class Mode(StrEnum):
    """`enforce` applies what it decides; `observe` decides and reports, and applies nothing."""

    ENFORCE = "enforce"
    OBSERVE = "observe"


class SecurityProtocol(StrEnum):
    """How the Kafka brokers are spoken to, in Kafka's own words."""

    PLAINTEXT = "PLAINTEXT"
    SSL = "SSL"
    SASL_PLAINTEXT = "SASL_PLAINTEXT"
    SASL_SSL = "SASL_SSL"

    @property
    def encrypted(self) -> bool:
        """Whether the connection uses TLS."""
        return self in {SecurityProtocol.SSL, SecurityProtocol.SASL_SSL}

    @property
    def authenticated(self) -> bool:
        """Whether a SASL user name and password are asked for."""
        return self in {SecurityProtocol.SASL_PLAINTEXT, SecurityProtocol.SASL_SSL}


class SaslMechanism(StrEnum):
    """The SASL mechanisms that both Kafka clients speak without a system library (docs/adr/0001)."""

    PLAIN = "PLAIN"
    SCRAM_SHA_256 = "SCRAM-SHA-256"
    SCRAM_SHA_512 = "SCRAM-SHA-512"


class LogLevel(StrEnum):
    """The least level that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class WireFormat(StrEnum):
    """How records of our topics are encoded: plain JSON, or Avro by a schema registry."""

    JSON = "json"
    AVRO = "avro"


TopicName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")]
Seconds = Annotated[float, Field(gt=0)]
Bytes = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]


class Settings(BaseSettings):
    """The settings of one process. Units are in the names' last part or in the description."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTED,
        extra="forbid",
        frozen=True,
        case_sensitive=False,
        hide_input_in_errors=True,
    )

    # What is decided
    mode: Mode = Field(Mode.ENFORCE, description="`enforce`, or `observe`: decide and report, apply nothing")
    matrix_path: Path = Field(Path("matrix/patient.yaml"), description="the matrix document")
    sources_path: Path = Field(Path("matrix/sources"), description="folder of source mappings, YAML files")
    source_epoch: dict[str, Annotated[int, Field(ge=0)]] = Field(
        default_factory=dict,
        description="epoch per source, raised by one when its positions went back (restore, migration)",
    )

    # Kafka
    brokers: str = Field(
        "localhost:9092",
        min_length=1,
        description="Kafka bootstrap servers, `host:port`, with commas between",
    )
    app_id: str = Field(
        "ownership-stream",
        pattern=r"^[A-Za-z0-9._-]{1,100}$",
        description="consumer group, and first part of every transactional id and Redis key",
    )
    security_protocol: SecurityProtocol = Field(
        SecurityProtocol.PLAINTEXT, description="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"
    )
    sasl_mechanism: SaslMechanism = Field(
        SaslMechanism.SCRAM_SHA_512, description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"
    )
    sasl_username: str | None = Field(None, description="SASL user name")
    sasl_password: SecretStr | None = Field(None, description="SASL password")
    tls_ca_path: Path | None = Field(None, description="PEM file of trusted authorities; unset: the system's")
    tls_certificate_path: Path | None = Field(None, description="PEM file of the client certificate")
    tls_key_path: Path | None = Field(None, description="PEM file of the client certificate's key")
    tls_key_password: SecretStr | None = Field(None, description="password of the client certificate's key")

    # Topics
    topic_changes: TopicName = Field("ownership.changes", description="every change in one order per record")
    topic_state: TopicName = Field("ownership.state", description="record states, compacted")
    topic_conflicts: TopicName = Field("ownership.conflicts", description="what was not approved")
    topic_resolutions: TopicName = Field("ownership.resolutions", description="how conflicts were resolved")
    topic_matches: TopicName = Field("ownership.matches", description="records seen under their match keys")
    topic_match_state: TopicName = Field(
        "ownership.match-state", description="which records share a match key, compacted"
    )
    topic_links: TopicName = Field("ownership.links", description="whose rows are whose, by native key, compacted")
    topic_lanes: TopicName = Field("ownership.lanes", description="where lanes that keep no states stand, compacted")
    topic_dead_letters: TopicName = Field(
        "ownership.dead-letters", description="records that could not be read, with their original bytes"
    )
    topic_apply_prefix: TopicName = Field(
        "apply.", description="the system's name is put after it: approved changes for that system"
    )
    source_topics: dict[str, list[TopicName]] = Field(
        default_factory=dict, description="topics per source, instead of those that its mapping names"
    )
    partitions: Annotated[int, Field(ge=1, le=10_000)] = Field(
        8, description="partitions of `ownership.changes` and `ownership.state`; growing is a migration"
    )
    replication_factor: Annotated[int, Field(ge=1, le=32)] = Field(3, description="replicas of our topics")
    min_insync_replicas: Annotated[int, Field(ge=1, le=32)] = Field(
        2, description="in-sync replicas that a write to our topics needs"
    )
    changes_retention_days: Annotated[int, Field(ge=1)] = Field(
        30, description="days that changes, conflicts, resolutions and dead letters are kept"
    )

    # Wire
    wire: WireFormat = Field(
        WireFormat.JSON, description="`json`, or `avro`: how our topics are written; either is read by `avro`"
    )
    registry_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s@]+$",
        description="schema registry of Confluent's protocol, for Avro; Apicurio's is at `…/apis/ccompat/v7`",
    )
    registry_user: str | None = Field(None, description="its user name, or API key")
    registry_password: SecretStr | None = Field(None, description="the password or API secret of `registry_user`")
    registry_ca_path: Path | None = Field(
        None, description="PEM file of authorities that the registry is trusted by; unset: the system's"
    )
    registry_timeout_seconds: Seconds = Field(5.0, description="longest wait for one answer of the registry")

    # Redis
    redis_url: SecretStr = Field(
        SecretStr("redis://localhost:6379/0"), description="redis:// or rediss:// address with its password"
    )
    redis_timeout_seconds: Seconds = Field(5.0, description="longest wait for one Redis answer")
    redis_chunk_keys: Count = Field(500, description="keys in one compare-and-set call to Redis")

    # Batches and time-outs
    batch_max_records: Count = Field(10_000, description="most records in one batch of one lane")
    batch_max_bytes: Bytes = Field(
        1024 * 1024, description="most bytes of records in one batch of one lane, and fetched from a partition at once"
    )
    work_max_bytes: Bytes = Field(
        4 * 1024 * 1024,
        description="most bytes of records that all lanes of a worker have at work at once; a larger batch goes alone",
    )
    record_max_bytes: Bytes = Field(
        1024 * 1024, description="largest source record; dead letters and clients allow 64 KiB more"
    )
    transaction_timeout_seconds: Seconds = Field(
        10.0, description="longest life of a transaction, so how long a dead worker can block readers"
    )
    message_timeout_seconds: Seconds = Field(
        10.0, description="longest wait for one delivery, not above the transaction's"
    )
    session_timeout_seconds: Seconds = Field(
        10.0, description="silence after which a worker is taken for dead and its lanes move"
    )
    tick_interval_seconds: Seconds = Field(30.0, description="how often lanes write ticks for what is overdue")
    shutdown_grace_seconds: Seconds = Field(60.0, description="time a stopping worker has to end its batches")

    # Watching
    http_host: str = Field("127.0.0.1", description="address of /metrics, /healthz and /readyz")
    http_port: Annotated[int, Field(ge=0, le=65_535)] = Field(6066, description="its port; 0 takes a free one")
    log_level: LogLevel = Field(LogLevel.INFO, description="debug, info, warning or error")
    hash_key: SecretStr | None = Field(
        None,
        description="secret key of hashed ids and match keys; unset: random, and no duplicates are looked for",
    )

    # Pages (`ownership-stream pages`)
    pages_host: str = Field("127.0.0.1", description="address of the pages and of their API")
    pages_port: Annotated[int, Field(ge=0, le=65_535)] = Field(6067, description="its port; 0 takes a free one")
    pages_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/@?#]+$",
        description="address of the pages for people, as `https://ownership.example.org`; only its forms are taken",
    )
    pages_proxy_secret: SecretStr | None = Field(
        None,
        description="secret of the authenticating proxy, 32 characters or more: who has it says who somebody is",
    )
    pages_actor_header: HeaderName = Field("X-Forwarded-Email", description="in which the proxy names the person")
    pages_groups_header: HeaderName = Field(
        "X-Forwarded-Groups", description="in which the proxy lists the person's groups, with commas between"
    )
    pages_groups: dict[str, str] = Field(
        default_factory=dict,
        description="group -> escalation owner or `reader`; empty: a group that has an owner's name is that owner",
    )
    pages_tokens_path: Path | None = Field(
        None, description="TOML file of API tokens: name, roles and SHA-256 of each (docs/pages.md)"
    )

    SECRETS: ClassVar[frozenset[str]] = frozenset(
        {"sasl_password", "tls_key_password", "registry_password", "redis_url", "hash_key", "pages_proxy_secret"}
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 (the library's signature)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (as above)
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (as above)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (as above)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: `load` reads the sources itself, and so knows where each value is from."""
        return (init_settings,)

    @field_validator("redis_url")
    @classmethod
    def _redis_address(cls, value: SecretStr) -> SecretStr:
        if urlsplit(value.get_secret_value()).scheme not in {"redis", "rediss", "unix"}:
            message = "an address that begins with `redis://`, `rediss://` or `unix://` is needed"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = list(_contradictions(self))
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def topic_apply(self, system: str) -> str:
        """The topic of approved changes for `system` (`ehr` → `apply.ehr`)."""
        return f"{self.topic_apply_prefix}{system}"


def _contradictions(settings: Settings) -> Iterator[str]:
    protocol = settings.security_protocol
    if protocol.authenticated and not (settings.sasl_username and settings.sasl_password):
        yield f"`security_protocol` {protocol} needs `sasl_username` and `sasl_password`"
    if not protocol.authenticated and (settings.sasl_username or settings.sasl_password):
        yield f"`sasl_username` and `sasl_password` have no effect with `security_protocol` {protocol}"
    if not protocol.encrypted and (settings.tls_ca_path or settings.tls_certificate_path):
        yield f"`tls_ca_path` and `tls_certificate_path` have no effect with `security_protocol` {protocol}"
    if bool(settings.tls_certificate_path) != bool(settings.tls_key_path):
        yield "`tls_certificate_path` and `tls_key_path` go together"
    if settings.wire is WireFormat.AVRO and settings.registry_url is None:
        yield "`wire` avro needs `registry_url`"
    if bool(settings.registry_user) != bool(settings.registry_password):
        yield "`registry_user` and `registry_password` go together"
    if settings.registry_user and settings.registry_url is None:
        yield "`registry_user` has no effect without `registry_url`"
    if settings.message_timeout_seconds > settings.transaction_timeout_seconds:
        yield "`message_timeout_seconds` must not be above `transaction_timeout_seconds`"
    if settings.min_insync_replicas > settings.replication_factor:
        yield "`min_insync_replicas` must not be above `replication_factor`"
    yield from _open_doors(settings)


def _open_doors(settings: Settings) -> Iterator[str]:
    secret = settings.pages_proxy_secret
    if secret is None:
        return
    if len(secret.get_secret_value()) < LEAST_SECRET:
        yield f"`pages_proxy_secret` must have {LEAST_SECRET} characters or more"
    if settings.pages_url is None:
        yield "`pages_proxy_secret` needs `pages_url`"
