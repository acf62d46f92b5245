"""One Chromium for all tests of a module: Debian's, by Playwright, which brings none of its own."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser; each test has a context of its own in it. Skipped by name where there is none.

    Not for the session: while it is there, this thread has an event loop, and no other test can run one of its own.
    """
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no `chromium` on the PATH")
    sync_api = pytest.importorskip("playwright.sync_api", reason="the package `playwright` is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
