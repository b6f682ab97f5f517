"""Writes a sealed file as a stream: docs/formats/sealed.md, "Writing"."""

from __future__ import annotations

import io
import itertools
import os
import secrets
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Callable, Iterator, Optional, Sequence, Tuple, Type

from .errors import SealedError
from .header import ALIGNMENT, FixedPart, Slot, digest_of, encode_header, length_for
from .part import Part
from .payload import PAYLOAD_HEADER, TAG, SegmentCipher
from .reader import at

_SEGMENT_SIZE = 65_536
_MAX_NUMBER = 2**32

#: Asks for the key of a file to be written, by file id and fixed digest, and for its wraps.
NewKey = Callable[[str, str], Tuple[bytes, Sequence[Slot]]]

# Counted from a random start: a random number for each file would soon be there twice, since other
# processes write parts of the same dataset and know nothing of each other.
_numbers: Iterator[int]


def _count_anew() -> None:
    global _numbers
    _numbers = itertools.count(secrets.randbits(32))


_count_anew()
os.register_at_fork(after_in_child=_count_anew)


@dataclass(frozen=True)
class Target:
    """What parts of an output are made of, and where they lie."""

    dataset_id: str
    media_type: str
    parts_folder: str
    label: str
    new_key: NewKey


class PartWriter(io.RawIOBase):
    """A part of an output as a file to write to. It is whole when it has been closed, and becomes the
    output's then; in a ``with`` that ends with an exception nothing of it is left.

    Threads may share it: each segment has one nonce, and two that seal at once would use it twice. So
    would a process that forked, which may not write to what its parent began.

    :param done: takes the part that was written.
    """

    def __init__(
        self, target: Target, path: str, rows: Optional[int], done: Callable[[Part], None]
    ) -> None:
        super().__init__()
        self._is_open = False
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._path = path
        self._rows = rows
        self._done = done
        self._label = f"{target.label}, {path}"
        self._held = bytearray()
        self._segment = 0
        self._written = 0
        fixed, header_length, dek, slots = _keyed(target)
        self._fixed, fixed_bytes = fixed, fixed.encode(header_length)
        self._fixed_digest = digest_of(fixed_bytes)
        self._name = f"part-{fixed.part:05d}-{fixed.file_id}.sealed"
        self._file_path = os.path.join(target.parts_folder, self._name)
        header = SegmentCipher.new_header()
        self._cipher = SegmentCipher(dek, header, fixed_bytes)
        self._last_tag = b""
        with self._or_nothing():
            # Without a buffer: a process that forks would write what is in it once more.
            self._file: BinaryIO = open(self._file_path, "xb", buffering=0)
            self._is_open = True
            self._put(encode_header(fixed_bytes, slots, dek) + header)

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, data: Any) -> int:
        view = memoryview(data)
        with self._or_nothing():
            if not self._is_open:
                raise ValueError("the file is closed")
            if view.nbytes == 0:
                return 0
            view = view.cast("B")
            self._take(view)
            self._written += len(view)
            return len(view)

    def close(self) -> None:
        """Writes the part to its end, and makes it the output's."""
        if self._is_open:
            with self._or_nothing():
                if self._is_open:
                    self._finish()
        super().close()

    def _finish(self) -> None:
        self._seal(is_last=True)
        os.fsync(self._file.fileno())
        length = self._file.tell()
        self._file.close()
        self._done(self._part(length))
        self._is_open = False

    def discard(self) -> None:
        """Removes what was written, as far as the storage lets us: no manifest will name it."""
        if self._process != os.getpid():
            self._is_open = False  # The file is another process's.
        else:
            with self._lock:
                self._remove()
        super().close()

    def _remove(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        try:
            self._file.close()
        except OSError:
            pass  # What it holds does not matter any more.
        try:
            os.unlink(self._file_path)
        except OSError:
            pass

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        if getattr(self, "_is_open", False) and self._process == os.getpid():
            warnings.warn(
                f"{self._label} was not closed, and is not in the output", RuntimeWarning, 2
            )
            self.discard()

    @contextmanager
    def _or_nothing(self) -> Iterator[None]:
        """One after another, in the process that began it. Whatever goes wrong, nothing of the part is
        left."""
        if self._process != os.getpid():
            message = f"{self._label}: begun by another process, which alone may write to it"
            raise SealedError("WRITER_STATE", message)
        with self._lock:
            try:
                yield
            except (OSError, SealedError) as error:
                self.discard()
                raise at(self._label, error) from error
            except BaseException:
                self.discard()
                raise

    def _take(self, view: memoryview) -> None:
        start = 0
        while start < len(view):
            room = self._capacity() - len(self._held)
            # A full segment waits: whether it is the last one is known when more comes.
            if room == 0:
                self._seal(is_last=False)
                continue
            self._held += view[start : start + room]
            start += room

    def _capacity(self) -> int:
        header = PAYLOAD_HEADER if self._segment == 0 else 0
        return self._fixed.segment_size - TAG - header

    def _seal(self, is_last: bool) -> None:
        sealed = self._cipher.seal(self._segment, is_last, self._held)
        self._segment += 1
        self._held.clear()
        self._put(sealed)
        self._last_tag = sealed[-TAG:]

    def _put(self, data: bytes) -> None:
        left = memoryview(data)
        while len(left) > 0:
            left = left[self._file.write(left) :]

    def _part(self, length: int) -> Part:
        fixed = self._fixed
        return Part(
            fixed.part,
            self._name,
            self._path,
            fixed.file_id,
            self._fixed_digest,
            length,
            self._last_tag.hex(),
            self._rows,
        )


def _keyed(target: Target) -> Tuple[FixedPart, int, bytes, Sequence[Slot]]:
    """Asks for a key. The header's length is in the digest that the key is wrapped for, so it is chosen
    before the slots are known, and once more where they do not fit."""
    header_length = ALIGNMENT
    while True:
        fixed = FixedPart(
            target.dataset_id,
            secrets.token_hex(16),
            target.media_type,
            next(_numbers) % _MAX_NUMBER,
            _SEGMENT_SIZE,
        )
        digest = digest_of(fixed.encode(header_length))
        dek, slots = target.new_key(fixed.file_id, digest)
        needed = length_for(fixed, slots)
        if needed <= header_length:
            return fixed, header_length, dek, slots
        header_length = needed
