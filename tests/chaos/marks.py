"""What every test that injects faults is marked with."""

from typing import Final

import pytest

FAULTS: Final = [
    pytest.mark.faults,
    pytest.mark.real_broker,
    pytest.mark.real_redis,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    # The workers are what is tested, in processes of their own; in this one only the judge would be slowed down.
    pytest.mark.no_cover,
]
