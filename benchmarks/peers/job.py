"""What a peer is told of its run, and the parts of ours that all of them call: the settings and the pure decide step.

A peer is a process of its own. It reads its job from the environment, works until it is ended, and commits its input
offsets in its transactions: what it has done is measured from outside.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from pydantic import SecretStr

from ownership_stream.assembly import documents, stages
from ownership_stream.lane.contract import Output, Record
from ownership_stream.settings import Settings
from ownership_stream.steps import DecideStep

ENVIRONMENT = "OWNERSHIP_BENCH_JOB"
WORDS = ("state", "conflicts", "resolutions", "lanes", "matches", "match_state", "links", "dead_letters")
MATRIX = Path(__file__).resolve().parents[2] / "matrix" / "patient.yaml"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of one peer. `name` is its group, and what its own topics begin with.

    `changes` is the input topic of the decide stage, `sources` the CDC topic of each source. `folder` is for its files.
    Where that input is there already it has all changes that follow from others too: what the decide stage says to
    other records then goes to a topic of the run's own, which nobody reads.
    `batch`: the most records in a batch of ours. `swift`: commits often, as whoever looks at latency would set it; else
    as whoever looks at throughput would.
    """

    name: str
    bootstrap: str
    redis_url: str
    partitions: int
    changes: str
    sources: dict[str, str]
    folder: str
    swift: bool = False
    batch: int = 10_000

    @classmethod
    def given(cls) -> Self:
        """The job that the environment holds."""
        return cls(**json.loads(os.environ[ENVIRONMENT]))

    def environment(self) -> dict[str, str]:
        """The job as the environment holds it."""
        return {ENVIRONMENT: json.dumps(asdict(self))}

    @property
    def settings(self) -> Settings:
        """The settings of ours for this run: topics under its name, one broker, and the defaults for all else."""
        return Settings.model_validate(
            {
                "brokers": self.bootstrap,
                "redis_url": SecretStr(self.redis_url),
                "app_id": self.name,
                "partitions": self.partitions,
                "replication_factor": 1,
                "min_insync_replicas": 1,
                "matrix_path": MATRIX,
                "sources_path": MATRIX.parent / "sources",
                "source_topics": {source: [topic] for source, topic in self.sources.items()},
                "topic_changes": f"{self.name}.changes",
                "topic_apply_prefix": f"{self.name}.apply.",
                "tick_interval_seconds": 3600.0,
                "batch_max_records": self.batch,
                "http_port": 0,
                **{f"topic_{word}": f"{self.name}.{word}" for word in WORDS},
            }
        )

    @property
    def outputs(self) -> list[str]:
        """The topics to which decisions go."""
        settings = self.settings
        said = [] if self.changes == settings.topic_changes else [settings.topic_changes]
        return [
            *said,
            settings.topic_links,
            settings.topic_apply("ehr"),
            settings.topic_apply("crm"),
            settings.topic_conflicts,
            settings.topic_resolutions,
            settings.topic_dead_letters,
        ]

    @property
    def loop_output(self) -> str:
        """The topic to which the loop that decides nothing copies its input."""
        return f"{self.name}.copy"


class OneByOne:
    """Our decide step, called with one change at a time.

    What the step keeps for a lane and not for a record (its breaker, its regimes) the peers have no durable place for:
    it stays in memory here, which costs them nothing.
    """

    def __init__(self, job: Job) -> None:
        settings = job.settings
        matrix, mappings = documents(settings)
        [self._step] = [
            stage.step for stage in stages(settings, matrix, mappings) if isinstance(stage.step, DecideStep)
        ]
        self._lanes: list[dict[str, bytes]] = [{} for _ in range(job.partitions)]

    def decide(self, record: Record, stored: bytes | None) -> tuple[bytes, list[Output]]:
        """The packed state after the change, and what is to be sent."""
        name = (record.key or b"").decode()
        lane = self._lanes[record.partition]
        result = self._step.run(self._step.decode([record]), {**lane, name: stored})
        state = result.states.pop(name)
        lane |= result.states
        return state, result.outputs
