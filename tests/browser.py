"""A page opened in a real headless Chromium: what it logs as an error, how wide it is, what it holds.

Use: ``with open_page(path, width=390) as (page, errors): ...``; ``page`` is Playwright's. Chromium is the system's
(/usr/bin/chromium, or RRL_CHROMIUM); a test that has none is skipped, and says so.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path(os.environ.get("RRL_CHROMIUM", "/usr/bin/chromium"))
WIDE, PHONE = 1280, 390  # pixels
_OPEN: list[Any] = []


@contextmanager
def open_page(path: Path, width: int) -> Iterator[tuple[Any, list[str]]]:
    """(page, errors): the file as a reader opens it. errors: console errors, exceptions and requests that left the
    machine, as they come.

    Args:
      path: an HTML file.
      width: of the window, pixels; ``WIDE`` or ``PHONE``.
    """
    errors: list[str] = []
    with _browser() as browser:
        context = browser.new_context(viewport={"width": width, "height": 900}, accept_downloads=True)
        page = context.new_page()
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.on("request", lambda r: errors.append(f"asks for {r.url}") if r.url.startswith("http") else None)
        page.goto(path.resolve().as_uri())
        yield page, errors
        context.close()


@contextmanager
def _browser() -> Iterator[Any]:
    """The browser that is open already, else one until the end: Playwright holds this thread's event loop, so there
    may be only one, and none where nobody looks at a page."""
    if _OPEN:
        yield _OPEN[0]
        return
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    if not CHROMIUM.is_file():
        pytest.skip(f"no Chromium at {CHROMIUM}; install the system's chromium, or name one in RRL_CHROMIUM")
    with playwright.sync_playwright() as running:
        _OPEN.append(running.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"]))
        try:
            yield _OPEN[0]
        finally:
            _OPEN.pop().close()


def overflow(page: Any) -> int:
    """Pixels by which the page is wider than its window; more than 0 scrolls sideways."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))
