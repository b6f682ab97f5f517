"""What can go wrong: data is not what it must be, or the key broker refuses."""

from __future__ import annotations

from typing import Tuple, Type


class SealedError(Exception):
    """A sealed file or part that is not what it must be. No byte of what failed has been given out.

    ``code`` is stable, and one of docs/formats/sealed.md and docs/formats/dataset.md, such as ``TAG``,
    ``TRUNCATED``, ``PART_CHANGED``; ``PATH``: the dataset has no such path, or takes none such;
    ``WRITER_STATE``: calls are out of order; ``IO``: the storage failed. Not an ``OSError``: nothing
    that passes over files which it cannot read may pass over these.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} [{code}]")
        self.code = code
        self.message = message

    def __reduce__(self) -> Tuple[Type[SealedError], Tuple[str, str]]:
        return type(self), (self.code, self.message)


class BrokerError(Exception):
    """The key broker refuses, or could not be asked. ``code`` is of docs/protocols/key-broker.md.

    ``PROTOCOL`` is this client's own: the broker answers out of order. ``NO_INSTANCE`` too: there is
    no broker to ask.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{message} [{code}]")
        self.code = code
        self.message = message

    def __reduce__(self) -> Tuple[Type[BrokerError], Tuple[str, str]]:
        return type(self), (self.code, self.message)
