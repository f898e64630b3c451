"""Waiting for what comes by itself."""

from __future__ import annotations

import time
from collections.abc import Callable

POLL_SECONDS = 0.05


def wait_until(holds: Callable[[], object], what: str, seconds_max: float = 30.0) -> None:
    """Asks again and again until it holds."""
    end = time.monotonic() + seconds_max
    while not holds():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(POLL_SECONDS)
