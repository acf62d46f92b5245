"""Our decide stage alone: the shipped worker with that one stage, on changes that are already there."""

from job import Job

from ownership_stream.app import run_worker
from ownership_stream.assembly import assemble
from ownership_stream.steps import DecideStep
from ownership_stream.telemetry import configure_logging, only_log_lines
from ownership_stream.worker_config import Stage


def main(*, only_decide: bool = True) -> None:
    """Works until it is told to stop."""
    job = Job.given()
    worker = assemble(job.settings)
    configure_logging("warning")
    chosen = list(worker.stages)
    if only_decide:
        chosen = [Stage(stage.step, (job.changes,)) for stage in chosen if isinstance(stage.step, DecideStep)]
    with only_log_lines():
        run_worker(worker.config, chosen, store=worker.store, observer=worker.observer, metrics=worker.telemetry)


if __name__ == "__main__":
    main()
