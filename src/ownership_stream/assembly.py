"""A worker put together from its settings: documents read, steps built, telemetry bounded.

Everything that can be wrong with settings, matrix and source mappings is found here, before Kafka is spoken to. It
starts nothing and runs nothing.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import msgspec

from ownership_stream import __version__, sources
from ownership_stream.census import Census
from ownership_stream.errors import BadInputError
from ownership_stream.links import Home, Homes
from ownership_stream.matrix.compile import MatrixDocument, load_document
from ownership_stream.matrix.compiled import Matrix
from ownership_stream.matrix.lint import due, end_of, lint
from ownership_stream.settings import Mode, Settings
from ownership_stream.sources import IGNORED, REASONS, Mapping, Writer
from ownership_stream.steps import DEAD_LETTER_REASONS, DecideStep, IntakeStep, MatchStep, SourceDecoder, Topics
from ownership_stream.store import RedisStore
from ownership_stream.telemetry import LaneTelemetry, Telemetry, bounds_of, hash_key
from ownership_stream.ticker import Ticker
from ownership_stream.wire.avro_wire import apply_wires, wire_of
from ownership_stream.wire.framed import FramedDecoder
from ownership_stream.wire.registry import Registry, registry_of
from ownership_stream.worker_config import Stage, WorkerConfig, redis_store, worker_config


class Assembly(NamedTuple):
    """All parts of one worker."""

    matrix: Matrix
    mappings: tuple[Mapping, ...]
    stages: tuple[Stage, ...]
    config: WorkerConfig
    store: RedisStore
    telemetry: Telemetry
    observer: LaneTelemetry
    ticks: Ticker
    census: Census


def assemble(settings: Settings, *, waived: Collection[str] = ()) -> Assembly:
    """The parts of a worker; ``waived`` are the checks that the embedded stack cannot answer.

    Raises ``BadInputError`` with every mistake in the matrix and the source mappings, each at its place: what
    ``ownership-stream matrix check`` refuses, no worker works by.
    """
    document, mappings = _documents(settings)
    matrix = document.matrix
    registry = registry_of(settings)
    counts = _telemetry(settings, matrix)
    counts.set("matrix_review_due_timestamp_seconds", value=end_of(due(document.review)))
    config = worker_config(settings, waived=waived)
    store = redis_store(settings, waived=waived)
    return Assembly(
        matrix,
        mappings,
        stages(settings, matrix, mappings, registry),
        config,
        store,
        counts,
        LaneTelemetry(counts),
        Ticker(
            config.lane,
            store,
            changes=settings.topic_changes,
            states=settings.topic_state,
            seconds=settings.tick_interval_seconds,
            wire=wire_of(settings, registry=registry),
        ),
        Census(config.lane, store, matrix, counts, changes=settings.topic_changes, states=settings.topic_state),
    )


def documents(settings: Settings) -> tuple[Matrix, tuple[Mapping, ...]]:
    """The matrix and its source mappings, each sound by itself and all of them together; raises ``BadInputError``."""
    document, mappings = _documents(settings)
    return document.matrix, mappings


def _documents(settings: Settings) -> tuple[MatrixDocument, tuple[Mapping, ...]]:
    document = load_document(settings.matrix_path)
    found = sources.load_all(settings.sources_path, document.matrix)
    columns = {one.mapping.source: one.columns() for one in found}
    # Only warnings depend on the day, and whoever starts a worker is not who reviews the document.
    findings = lint(document, document.review.last, columns)
    mappings = tuple(one.mapping for one in found)
    problems = [str(finding) for finding in findings if finding.severity == "error"]
    problems += _misnamed(settings, mappings)
    problems += _unmakeable(settings, document.matrix, mappings)
    if problems:
        raise BadInputError(*problems)
    bound = msgspec.structs.replace(document, matrix=sources.bound(document.matrix, mappings))
    return bound, mappings


def _misnamed(settings: Settings, mappings: Collection[Mapping]) -> Iterator[str]:
    """Sources in the settings that no mapping has, and topics that two sources read."""
    known = [mapping.source for mapping in mappings]
    for setting in ("source_topics", "source_epoch"):
        for source in getattr(settings, setting):
            if source not in known:
                yield f"setting `{setting}`: no mapping in {settings.sources_path} is of source `{source}`"
    readers: dict[str, str] = {}
    for mapping in mappings:
        for topic in topics_read(settings, mapping):
            first = readers.setdefault(topic, mapping.source)
            if first != mapping.source:
                yield f"setting `source_topics`: topic `{topic}` is read by `{first}` and by `{mapping.source}`"


def _unmakeable(settings: Settings, matrix: Matrix, mappings: Collection[Mapping]) -> Iterator[str]:
    """Systems in which the matrix has records made, and whose apply records cannot say so.

    In Avro a topic has one schema of keys, and a row that is still to be made has none of these keys.
    """
    for mapping in mappings:
        form = mapping.apply_form or settings.wire.value
        if form.startswith("avro") and mapping.system in matrix.creates:
            yield (
                f"system `{mapping.system}`: the matrix has records made there, which Avro cannot address: "
                f"set `apply as: json with schema` in the mapping of source `{mapping.source}`"
            )


def topics_read(settings: Settings, mapping: Mapping) -> Sequence[str]:
    """The topics of a source: those of its mapping, unless the settings name others."""
    return settings.source_topics.get(mapping.source, mapping.topics)


def stages(
    settings: Settings, matrix: Matrix, mappings: tuple[Mapping, ...], registry: Registry | None = None
) -> tuple[Stage, ...]:
    """Intake over every source topic, decide over ``ownership.changes``, match over ``ownership.matches``."""
    topics = topics_of(settings, matrix)
    registry = registry or registry_of(settings)
    decoders = {
        topic: source_decoder(settings, matrix, mapping, registry)
        for mapping in mappings
        for topic in topics_read(settings, mapping)
    }
    writers = {mapping.system: Writer(mapping, matrix) for mapping in mappings}
    observe = settings.mode is Mode.OBSERVE
    secret = None if settings.hash_key is None else hash_key(settings.hash_key)
    wire = wire_of(settings, writers, registry)
    states = settings.topic_state
    apply = apply_wires(settings, writers, wire, registry)
    decide = DecideStep(
        matrix,
        writers,
        topics,
        state_topic=states,
        observe=observe,
        secret=secret,
        wire=wire,
        apply=apply,
        homes=homes_of(mappings),
    )
    match = MatchStep(topics, state_topic=settings.topic_match_state, wire=wire)
    return (
        Stage(IntakeStep(decoders, topics, wire=wire), tuple(decoders)),
        Stage(decide, (settings.topic_changes,)),
        Stage(match, (settings.topic_matches,)),
    )


def source_decoder(settings: Settings, matrix: Matrix, mapping: Mapping, registry: Registry | None) -> SourceDecoder:
    """The decoder of a source; with a registry it reads Avro beside JSON."""
    decoder = sources.decoder(mapping, matrix, epoch=settings.source_epoch.get(mapping.source, 0))
    return decoder if registry is None else FramedDecoder(decoder, mapping, registry)


def homes_of(mappings: Collection[Mapping]) -> Homes:
    """The homes of native keys, as the systems' primary tables make them; none where a row has no record by itself."""
    rules = {one.system: one.primary.record for one in mappings}
    return Homes(
        {key: Home(rule.before, rule.after, rule.link is not None) for key, rule in rules.items() if rule.has_default}
    )


def topics_of(settings: Settings, matrix: Matrix) -> Topics:
    """The names of our topics."""
    return Topics(
        changes=settings.topic_changes,
        conflicts=settings.topic_conflicts,
        resolutions=settings.topic_resolutions,
        dead_letters=settings.topic_dead_letters,
        matches=settings.topic_matches,
        links=settings.topic_links,
        apply={system: settings.topic_apply(system) for system in matrix.systems},
        partitions=settings.partitions,
    )


def _telemetry(settings: Settings, matrix: Matrix) -> Telemetry:
    bounds = bounds_of(matrix, dead_letter_reasons=(*REASONS, *DEAD_LETTER_REASONS), ignored_reasons=tuple(IGNORED))
    telemetry = Telemetry(bounds, mode=settings.mode.value)
    telemetry.describe(version=__version__, revision=matrix.revision)
    return telemetry
