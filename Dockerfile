# syntax=docker/dockerfile:1
# One image for the worker and every command: `make image`. It runs as nobody in particular, writes only to /tmp, and
# needs no shell. Another base: --build-arg PYTHON_IMAGE=…, with Python 3.11 or later of glibc.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv --without-pip /opt/ownership-stream
COPY requirements.lock ./
RUN pip --python /opt/ownership-stream/bin/python install --only-binary :all: --require-hashes --no-deps -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src/ src/
COPY matrix/ matrix/
# What only builds is taken out again.
RUN pip --python /opt/ownership-stream/bin/python install --no-deps --no-build-isolation . \
    && pip --python /opt/ownership-stream/bin/python uninstall --yes editables hatchling pathspec pluggy trove-classifiers

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="ownership-stream" \
      org.opencontainers.image.description="Enforces an EHR + CRM field-ownership matrix on Kafka" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/ownership-stream/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OWNERSHIP_HTTP_HOST=0.0.0.0
RUN groupadd --system --gid 10001 ownership \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin ownership
COPY --from=build /opt/ownership-stream /opt/ownership-stream
# The default matrix where the default settings look for it; an installation mounts its own.
WORKDIR /srv/ownership-stream
COPY matrix/ matrix/
USER 10001:10001
EXPOSE 6066
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:6066/healthz', timeout=4)"]
ENTRYPOINT ["ownership-stream"]
CMD ["worker"]
