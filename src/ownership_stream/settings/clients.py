"""How the two Kafka clients reach the same brokers, from one set of settings: dictionaries, no clients."""

import ssl
from typing import Any

from pydantic import SecretStr

from ownership_stream.errors import BadInputError
from ownership_stream.settings.model import Settings


def librdkafka_config(settings: Settings) -> dict[str, str]:
    """How confluent-kafka's clients reach the brokers: addresses, TLS, SASL, client id."""
    config = {
        "bootstrap.servers": settings.brokers,
        "client.id": settings.app_id,
        "security.protocol": settings.security_protocol.value,
    }
    if settings.security_protocol.authenticated:
        config |= {
            "sasl.mechanism": settings.sasl_mechanism.value,
            "sasl.username": settings.sasl_username or "",
            "sasl.password": _reveal(settings.sasl_password) or "",
        }
    if settings.security_protocol.encrypted:
        files = {
            "ssl.ca.location": settings.tls_ca_path,
            "ssl.certificate.location": settings.tls_certificate_path,
            "ssl.key.location": settings.tls_key_path,
            "ssl.key.password": _reveal(settings.tls_key_password),
        }
        config |= {name: str(value) for name, value in files.items() if value is not None}
    return config


def aiokafka_config(settings: Settings) -> dict[str, Any]:
    """How aiokafka's clients reach the same brokers; raises BadInputError where a TLS file cannot be used."""
    config: dict[str, Any] = {
        "bootstrap_servers": settings.brokers,
        "client_id": settings.app_id,
        "security_protocol": settings.security_protocol.value,
    }
    if settings.security_protocol.authenticated:
        config |= {
            "sasl_mechanism": settings.sasl_mechanism.value,
            "sasl_plain_username": settings.sasl_username,
            "sasl_plain_password": _reveal(settings.sasl_password),
        }
    if settings.security_protocol.encrypted:
        config["ssl_context"] = tls_context(settings)
    return config


def tls_context(settings: Settings) -> ssl.SSLContext:
    """The TLS side of the Kafka settings for clients that take a Python context; raises BadInputError."""
    try:
        context = ssl.create_default_context(cafile=settings.tls_ca_path)
        if settings.tls_certificate_path is not None:
            context.load_cert_chain(
                settings.tls_certificate_path, settings.tls_key_path, _reveal(settings.tls_key_password)
            )
    except (OSError, ssl.SSLError) as error:
        raise BadInputError(
            f"the TLS files (`tls_ca_path`, `tls_certificate_path`, `tls_key_path`) cannot be used: "
            f"{error.strerror or type(error).__name__}"
        ) from None
    return context


def _reveal(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
