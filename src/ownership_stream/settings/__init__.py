"""What settings there are (`model`), where values come from (`loading`), Kafka clients' part (`clients`)."""

from ownership_stream.settings.clients import aiokafka_config, librdkafka_config, tls_context
from ownership_stream.settings.loading import Described, Loaded, describe, load
from ownership_stream.settings.model import (
    PREFIX,
    LogLevel,
    Mode,
    SaslMechanism,
    SecurityProtocol,
    Settings,
    WireFormat,
)

__all__ = [
    "PREFIX",
    "Described",
    "Loaded",
    "LogLevel",
    "Mode",
    "SaslMechanism",
    "SecurityProtocol",
    "Settings",
    "WireFormat",
    "aiokafka_config",
    "describe",
    "librdkafka_config",
    "load",
    "tls_context",
]
