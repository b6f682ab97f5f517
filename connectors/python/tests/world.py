"""The key service that the tests run against: told by whoever started it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from cloister import KmsClient, Pin, Retries

WORLD: Any = json.loads(Path(os.environ["CLOISTER_TEST_WORLD"]).read_text("utf-8"))
PIN = Pin.parse(WORLD["pin"])
QUICK = Retries(attempts=5, first_wait=0.01, longest_wait=0.05)


def owner(**options: Any) -> KmsClient:
    """A client with an account."""
    return KmsClient(PIN, WORLD["credential"], **options)


def through_relay() -> KmsClient:
    """The same through a relay that breaks each second connection in the middle of a request."""
    pin = replace(PIN, url=f"https://127.0.0.1:{WORLD['relayPort']}")
    return KmsClient(pin, WORLD["credential"], retries=QUICK)
