"""What can go wrong: the key service refuses, or nobody is there to be believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Optional, Sequence


@dataclass(frozen=True)
class Reason:
    """One ground of a refusal."""

    code: str
    message: str
    wanted: Optional[str] = None
    seen: Optional[str] = None


class KmsError(Exception):
    """A refusal by the key service. ``code`` is stable, the message is for people."""

    def __init__(
        self, status: int, code: str, message: str, reasons: Sequence[Reason] = ()
    ) -> None:
        super().__init__(f"{message} [{code}]")
        self.status = status
        self.code = code
        self.reasons = tuple(reasons)


class KmsConnectionError(Exception):
    """There was no answer to believe.

    ``code`` is ``UNREACHABLE``: nobody answered; ``FALSE_KMS``: somebody did who is not the pinned key
    service, and was sent nothing; ``TIMEOUT``: no answer in time; ``ANSWER``: the answer is none that
    the protocol knows.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} [{code}]")
        self.code = code


def refusal_from(status: int, body: Any) -> Exception:
    """The refusal that an answer tells of."""
    if not isinstance(body, Mapping) or not isinstance(body.get("code"), str):
        return KmsConnectionError("ANSWER", f"status {status} without a code")
    reasons = [
        Reason(
            str(reason.get("code")),
            str(reason.get("message")),
            reason.get("wanted"),
            reason.get("seen"),
        )
        for reason in body.get("reasons", ())
        if isinstance(reason, Mapping)
    ]
    return KmsError(status, body["code"], str(body.get("message", "")), reasons)
