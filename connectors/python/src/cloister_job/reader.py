"""Reads a sealed file from any offset: docs/formats/sealed.md, "Reading"."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO, Callable, Optional, Tuple, Union, cast

from .errors import SealedError
from .header import (
    MAX_FIXED_LENGTH,
    PREFIX_LENGTH,
    FixedPart,
    Header,
    digest_of,
    fixed_bytes_of,
    header_length,
    parse_header,
)
from .part import Part
from .payload import PAYLOAD_HEADER, TAG, Layout, SegmentCipher

# As many bytes as are asked for of the file at a time by whoever reads line by line.
_BUFFER = 256 * 1024


class SealedReader(io.RawIOBase):
    """The plaintext of a sealed file: seekable, authentic byte by byte, and no longer than one segment
    in memory at a time but what is asked for.

    When it has been made, the header's MAC and the file's last segment have been verified, so
    :attr:`size` is authentic. A file that is changed later fails where it was changed.

    :param fd: of a regular file; closed with the reader, also where this fails.
    :param key_of: gives the file's key, once it has looked at the header, which nothing authenticated.
    :param name: what errors call the file.
    """

    def __init__(self, fd: int, key_of: Callable[[Header], bytes], name: str) -> None:
        super().__init__()
        self._fd: Optional[int] = fd
        self._name = name
        self._position = 0
        self._cached: Tuple[int, bytes] = (-1, b"")
        try:
            self._begin(key_of)
        except (OSError, SealedError) as error:
            self.close()
            raise at(name, error) from error
        except BaseException:
            self.close()
            raise

    def _begin(self, key_of: Callable[[Header], bytes]) -> None:
        length = os.fstat(self._open_fd()).st_size
        begin = self._pread(0, min(length, PREFIX_LENGTH))
        self._payload = header_length(begin)
        header = parse_header(self._pread(0, min(length, self._payload)))
        dek = key_of(header)
        header.verify(dek)
        self._layout = Layout.of(length - self._payload, header.fixed.segment_size)
        self._cipher = SegmentCipher(
            dek, self._pread(self._payload, PAYLOAD_HEADER), header.fixed_bytes
        )
        self.header = header
        last = self._layout.count - 1
        ciphertext = self._ciphertext(last)
        self.last_tag = ciphertext[-TAG:].hex()
        self._cached = (last, self._cipher.open(last, True, ciphertext))

    @property
    def size(self) -> int:
        """The plaintext's length."""
        return self._layout.plaintext_length

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._open_fd()
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._open_fd()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}.get(whence)
        if base is None:
            raise ValueError(f"whence: wanted 0, 1 or 2, seen {whence}")
        if base + offset < 0:
            raise OSError(errno.EINVAL, "a position before the file's begin")
        self._position = base + offset
        return self._position

    def read(self, size: Optional[int] = -1) -> bytes:
        self._open_fd()
        left = max(0, self.size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        pieces = []
        while wanted > 0:
            piece = self._piece(wanted)
            pieces.append(piece)
            wanted -= len(piece)
        return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: Any) -> int:
        self._open_fd()
        into = memoryview(buffer).cast("B")
        wanted = min(len(into), max(0, self.size - self._position))
        done = 0
        while done < wanted:
            piece = self._piece(wanted - done)
            into[done : done + len(piece)] = piece
            done += len(piece)
        return done

    def close(self) -> None:
        fd, self._fd = self._fd, None
        self._cached = (-1, b"")
        if fd is not None:
            os.close(fd)
        super().close()

    def _piece(self, most: int) -> memoryview:
        """What is at the position, up to its segment's end; the position is behind it then."""
        index = self._layout.segment_of(self._position)
        start = self._position - self._layout.plaintext_start(index)
        piece = memoryview(self._segment(index))[start : start + most]
        self._position += len(piece)
        return piece

    def _segment(self, index: int) -> bytes:
        if self._cached[0] != index:
            is_last = index == self._layout.count - 1
            try:
                self._cached = (
                    index,
                    self._cipher.open(index, is_last, self._ciphertext(index)),
                )
            except (OSError, SealedError) as error:
                raise at(self._name, error) from error
        return self._cached[1]

    def _ciphertext(self, index: int) -> bytes:
        start, end = self._layout.start(index), self._layout.end(index)
        return self._pread(self._payload + start, end - start)

    def _pread(self, offset: int, length: int) -> bytes:
        data = os.pread(self._open_fd(), length, offset)
        while len(data) < length:
            more = os.pread(self._open_fd(), length - len(data), offset + len(data))
            if more == b"":
                raise SealedError("TRUNCATED", f"the file ends at {offset + len(data)}")
            data += more
        return data

    def _open_fd(self) -> int:
        if self._fd is None:
            raise ValueError("the file is closed")
        return self._fd


def open_part(
    folder: str, part: Part, dataset_id: str, key_of: Callable[[], bytes], label: str
) -> SealedReader:
    """Opens a part; everything that the manifest says of it holds when this returns.

    :param key_of: asks for the part's key, once the file is the one that the manifest means.
    """

    def looked_at(header: Header) -> bytes:
        fixed = header.fixed
        _same("PART_FOREIGN", "dataset id", dataset_id, fixed.dataset_id)
        _same("PART_FOREIGN", "file id", part.file_id, fixed.file_id)
        _same("PART_FOREIGN", "part number", part.number, fixed.part)
        _same("PART_CHANGED", "fixed digest", part.fixed_digest, digest_of(header.fixed_bytes))
        return key_of()

    name = _name_of(part, label)
    reader = SealedReader(_open_regular(folder, part, name), looked_at, name)
    try:
        _same("PART_CHANGED", "last tag", part.last_tag, reader.last_tag)
    except SealedError as error:
        reader.close()
        raise at(name, error) from error
    return reader


def buffered(reader: SealedReader) -> BinaryIO:
    """The reader with a buffer: what reads line by line is quick too."""
    return cast(BinaryIO, io.BufferedReader(reader, _BUFFER))


def plaintext_length(folder: str, part: Part, label: str) -> int:
    """The length of a part's plaintext, authentic though nothing is decrypted: from the manifest, and
    from the file's fixed part once that has the manifest's digest."""
    name = _name_of(part, label)
    fd = _open_regular(folder, part, name)
    try:
        fixed_bytes = fixed_bytes_of(os.pread(fd, MAX_FIXED_LENGTH, 0))
        _same("PART_CHANGED", "fixed digest", part.fixed_digest, digest_of(fixed_bytes))
        segment_size = FixedPart.parse(fixed_bytes[PREFIX_LENGTH:]).segment_size
        return Layout.of(part.length - header_length(fixed_bytes), segment_size).plaintext_length
    except (OSError, SealedError) as error:
        raise at(name, error) from error
    finally:
        os.close(fd)


def at(name: str, error: Union[OSError, SealedError]) -> SealedError:
    """An error of reading or writing, with the file's name. What the storage answers is its choice, so
    its errors are like those of data that was changed."""
    if isinstance(error, SealedError):
        return SealedError(error.code, f"{name}: {error.message}")
    if isinstance(error, FileNotFoundError):
        return SealedError("PART_MISSING", f"{name}: no such file")
    code = "NO_SPACE" if error.errno == errno.ENOSPC else "IO"
    return SealedError(code, f"{name}: {error.strerror}")


def _open_regular(folder: str, part: Part, name: str) -> int:
    """Opens a part's file, which is a regular one of the manifest's length."""
    # A pipe would have the opener wait for its other end.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(Path(folder) / part.name, flags)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise SealedError("PART_MISSING", f"{name}: not a regular file") from error
        raise at(name, error) from error
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise SealedError("PART_MISSING", "not a regular file")
        _same("PART_CHANGED", "length", part.length, status.st_size)
    except (OSError, SealedError) as error:
        os.close(fd)
        raise at(name, error) from error
    return fd


def _name_of(part: Part, label: str) -> str:
    return f"{label}, part {part.name} ({part.path})"


def _same(code: str, what: str, wanted: Union[str, int], seen: Union[str, int]) -> None:
    if wanted != seen:
        raise SealedError(code, f"{what}: wanted {wanted}, seen {seen}")
