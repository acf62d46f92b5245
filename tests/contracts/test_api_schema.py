"""The API is what its own description says: schemathesis reads `/v1/openapi.json` from the pages at work and tries it.

It invents requests that are as described and requests that are not, and judges each answer: no error of the server, no
status, header, content type or body that the description does not have, nothing refused that is described, nothing
taken that is not. The lane that answers is the real decide step over an embedded broker.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kept_kit import kept_servers
from ownership_stream.embedded import Embedded
from ownership_stream.web.openapi import OPERATIONS, Operation
from queue_kit import ANN, BEN, CIM, at_work, queue
from web_kit import listening, with_pages

schemathesis = pytest.importorskip("schemathesis")
GenerationMode = schemathesis.GenerationMode

TOKEN: Final = "a token of the tests"
REAL: Final = (("c-1:care_stage", ANN), ("c-2:date_of_birth", BEN), ("c-3:medication_plan", CIM))
"""Cases with their records."""
HEADERS: Final = {"Authorization": f"Bearer {TOKEN}"}
CONFIG: Final = schemathesis.Config.from_dict({"operations": [
    # Whether a value is one of its field, and an action one of its case, is no matter of a description: 400 and 422.
    {"include-name": f"POST /v1/{name}", "checks": {"positive_data_acceptance": {"expected-statuses": [
        "2xx", 400, 401, 403, 404, 409, 422]}}} for name in ("resolutions", "decide")
]})  # fmt: skip
EXAMPLES: Final = 20
"""Of each operation and kind."""


@pytest.fixture(scope="module")
def servers() -> Iterator[Embedded]:
    """One broker and one Redis for all."""
    with kept_servers() as embedded:
        yield embedded


@pytest.fixture(scope="module")
def api(servers: Embedded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The description as it is served, with the address that serves it."""
    tokens: Path = tmp_path_factory.mktemp("api") / "tokens.toml"
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    tokens.write_text(f'[[token]]\nname = "app"\nroles = ["medical_lead"]\nsha256 = "{digest}"\n')
    kept = with_pages(servers, pages_tokens_path=tokens)
    with at_work(kept, queue(kept)), listening(kept) as url:
        yield schemathesis.openapi.from_url(f"{url}/v1/openapi.json", headers=HEADERS, config=CONFIG)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as-described", "otherwise"])
def test_every_answer_is_as_described(api: Any, operation: Operation, mode: Any) -> None:
    """Whatever is asked, by who may see and decide everything; some of it of cases and records that there are."""
    asked = api[operation.path][operation.method.upper()]

    @given(case=asked.as_strategy(generation_mode=mode), real=st.sampled_from([None, *REAL]))
    @settings(
        derandomize=True, deadline=None, max_examples=EXAMPLES, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def tried(case: Any, real: tuple[str, str] | None) -> None:
        if real is not None and mode is GenerationMode.POSITIVE:
            for said in (case.path_parameters, case.body):
                if isinstance(said, dict):
                    said.update(
                        {name: text for name, text in zip(("case", "record"), real, strict=True) if name in said}
                    )
        case.call_and_validate(headers=HEADERS)

    tried()
