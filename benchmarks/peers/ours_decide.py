"""Our decide stage alone: the shipped worker with that one stage, on changes that are already there."""

from job import Job

from ownership_stream.app import run_worker
from ownership_stream.assembly import assemble
from ownership_stream.steps import DecideStep
from ownership_stream.telemetry import configure_logging, only_log_lines


def main(*, only_decide: bool = True) -> None:
    """Works until it is told to stop."""
    worker = assemble(Job.given().settings)
    configure_logging("warning")
    chosen = [stage for stage in worker.stages if not only_decide or isinstance(stage.step, DecideStep)]
    with only_log_lines():
        run_worker(worker.config, chosen, store=worker.store, observer=worker.observer, metrics=worker.telemetry)


if __name__ == "__main__":
    main()
