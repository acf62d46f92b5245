"""Faults in random combination: always the same few, and one that nobody has seen before, with its seed printed."""

import os
from pathlib import Path

import pytest

from chaos.combined import play, round_of
from chaos.marks import FAULTS
from chaos.run import Run
from integration.brokers import TestBroker

pytestmark = FAULTS

NEW = int.from_bytes(os.urandom(4), "big")


@pytest.mark.parametrize("seed", [1, pytest.param(NEW, id="new")])
def test_whatever_happens_together_every_input_is_decided_once(kafka: TestBroker, tmp_path: Path, seed: int) -> None:
    """Two faults, maybe more at a time, on two or three workers; `make chaos` goes on from here."""
    chosen = round_of(seed, cluster=False, most=2)
    print(f"seed {seed}: {chosen}")  # noqa: T201  # shown if it fails, and with -s
    with Run(kafka, seed, first=chosen.workers) as run:
        play(run, chosen)
        run.prove(tmp_path)
