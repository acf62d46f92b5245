"""The table of mutations fits today's source. That each is caught is `make mutate`'s to show: it needs real runs."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from chaos.installation import SRC
from chaos.mutate import SCENARIOS
from chaos.mutations import MUTATIONS, PACKAGE, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_a_mutation_applies_to_the_source_of_today_and_compiles(mutation: Mutation, tmp_path: Path) -> None:
    """Its text stands there exactly once, and the file differs afterwards."""
    source = SRC / PACKAGE / mutation.file
    copy = tmp_path / PACKAGE / mutation.file
    copy.parent.mkdir(parents=True)
    shutil.copy(source, copy)
    mutation.apply(tmp_path)
    assert source.read_text("utf-8") != copy.read_text("utf-8")


def test_there_are_at_least_twelve_each_with_its_own_name_and_faults_that_exist() -> None:
    """A name is what `--only` takes."""
    assert len(MUTATIONS) >= 12
    assert {1} == set(Counter(mutation.name for mutation in MUTATIONS).values())
    assert set() == {mutation.scenario for mutation in MUTATIONS} - SCENARIOS.keys()


def test_a_mutation_whose_text_drifted_fails_loudly() -> None:
    """It does not play the source as it is and call that a mutation."""
    drifted = replace(MUTATIONS[0], name="drifted", old="a text that stands nowhere")
    with pytest.raises(ValueError, match=r"mutation `drifted`: its text stands 0 times in `lane/commit\.py`, not once"):
        drifted.applied("nothing")
    twice = replace(drifted, old="twice")
    with pytest.raises(ValueError, match="stands 2 times"):
        twice.applied("twice twice")
