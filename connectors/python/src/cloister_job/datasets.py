"""The datasets of a job, as files to read and files to write."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, BinaryIO, Dict, List, Mapping, Optional, Sequence, Tuple, Type

from .broker import Broker, members
from .errors import BrokerError, SealedError
from .part import Part, assert_path
from .reader import SealedReader, buffered, open_part, plaintext_length
from .writer import PartWriter, Target


class Dataset(ABC):
    """What an input and an output have in common: files that can be opened."""

    #: ``input people`` or ``output result``, as errors call it.
    label: str

    def __init__(self, broker: Broker, told: Mapping[str, Any]) -> None:
        self._broker = broker
        self.name = _text(told, "name")
        self.dataset_id = _text(told, "datasetId")
        self.format = _text(told, "format")
        self.media_type = _text(told, "mediaType")
        #: What a program's text may call it by: ``/in/NAME`` or ``/out/NAME``.
        self.folder = _text(told, "folder")
        # Set at once: threads that ask at the same time never see the number of one list with another.
        self._known: Tuple[int, Sequence[Part], Dict[str, Part]] = (-1, (), {})
        self._lengths: Dict[str, int] = {}

    def parts(self) -> Sequence[Part]:
        """Its files, as they are now."""
        return self._now()[1]

    def _now(self) -> Tuple[int, Sequence[Part], Dict[str, Part]]:
        known = self._known
        newer = self._newer_parts(known[0])
        if newer is not None:
            number, parts = newer
            self._known = known = (number, tuple(parts), {part.path: part for part in parts})
        return known

    @abstractmethod
    def _newer_parts(self, known: int) -> Optional[Tuple[int, Sequence[Part]]]:
        """Asks which files there are, and the number of that list; None where it is the known one."""

    @property
    def paths(self) -> List[str]:
        """Where its files stand."""
        return [part.path for part in self.parts()]

    def open(self, path: Optional[str] = None) -> BinaryIO:
        """Opens a file, the only one unless told: seekable, buffered, authentic to its last byte.

        Raises :class:`SealedError` where anything of it was changed, here or where it is read.
        """
        return buffered(self.open_unbuffered(path))

    def open_unbuffered(self, path: Optional[str] = None) -> SealedReader:
        """The same for what reads in large pieces, or has a buffer of its own."""
        part = self.part(path)
        return open_part(
            self._parts_folder(), part, self.dataset_id, lambda: self._key_of(part), self.label
        )

    def size_of(self, part: Part) -> int:
        """The plaintext's length, authentic though nothing is decrypted."""
        if part.file_id not in self._lengths:
            length = plaintext_length(self._parts_folder(), part, self.label)
            self._lengths[part.file_id] = length
        return self._lengths[part.file_id]

    def part(self, path: Optional[str] = None) -> Part:
        """The file at a path; the only one unless told."""
        _, parts, by_path = self._now()
        if path is None and len(parts) == 1:
            return parts[0]
        if path is not None and path in by_path:
            return by_path[path]
        some = ", ".join(list(by_path)[:10]) or "no file"
        seen = "none named" if path is None else repr(path)
        raise SealedError("PATH", f"{self.label}: wanted one of {some}; seen {seen}")

    @abstractmethod
    def _parts_folder(self) -> str:
        """Where its sealed files lie."""

    @abstractmethod
    def _key_of(self, part: Part) -> bytes:
        """Asks for a file's key."""


class Input(Dataset):
    """A dataset that the job reads, at the version that the key service has named. Its files are those
    of its signed manifest, never what its folder holds."""

    def __init__(self, broker: Broker, told: Any) -> None:
        members(told, "input", *_INPUT)
        super().__init__(broker, told)
        self.label = f"input {self.name}"
        self.version = _count(told, "version")
        self._count = _count(told, "parts")

    def _newer_parts(self, known: int) -> Optional[Tuple[int, Sequence[Part]]]:
        return (0, self._broker.parts(self.name, self._count)) if known < 0 else None

    def _parts_folder(self) -> str:
        return _local(self.folder)

    def _key_of(self, part: Part) -> bytes:
        return self._broker.open(self.name, part.file_id)


class Output(Dataset):
    """A dataset that the job writes. Nothing of it is visible outside before the job has ended well, and
    then all of it is. What was committed can be read back."""

    def __init__(self, broker: Broker, told: Any) -> None:
        members(told, "output", *_OUTPUT)
        super().__init__(broker, told)
        self.label = f"output {self.name}"
        self._told_parts_folder = _text(told, "partsFolder")

    def _newer_parts(self, known: int) -> Optional[Tuple[int, Sequence[Part]]]:
        """What this run has committed so far, here or in another of its processes."""
        return self._broker.written_since(self.name, known)

    def create(self, path: str, rows: Optional[int] = None) -> PartWriter:
        """Begins a file, which is committed when it is closed. For many files :meth:`transaction` is
        quicker, and all or none of them.

        :param rows: their number, for the manifest, which **anybody can read**.
        """
        return self._begin(path, rows, lambda part: self._commit([part], replace=False))

    def transaction(self, replace: bool = False) -> Transaction:
        """Files that are committed together when its ``with`` ends well, and are gone otherwise.

        :param replace: in place of everything that was committed before.
        """
        return Transaction(self, replace)

    def _begin(self, path: str, rows: Optional[int], done: Any) -> PartWriter:
        assert_path(path)
        target = Target(
            self.dataset_id,
            self.media_type,
            self._parts_folder(),
            self.label,
            lambda file_id, digest: self._broker.create(self.name, file_id, digest),
        )
        return PartWriter(target, path, rows, done)

    def _commit(self, parts: Sequence[Part], replace: bool) -> None:
        self._broker.commit(self.name, parts, replace)

    def _parts_folder(self) -> str:
        return _local(self._told_parts_folder)

    def _key_of(self, part: Part) -> bytes:
        return self._broker.reopen(self.name, part.file_id)


class Transaction:
    """Files of an output that are committed together, by the process that began them."""

    def __init__(self, output: Output, replace: bool) -> None:
        self._output = output
        self._replace = replace
        self._process: Optional[int] = None
        self._lock = threading.Lock()
        self._written: List[Part] = []
        self._writers: List[PartWriter] = []

    def create(self, path: str, rows: Optional[int] = None) -> PartWriter:
        """Begins a file, as :meth:`Output.create` does."""
        if self._process != os.getpid():
            # What it would write nobody would commit.
            raise self._out_of_order("files are begun in its `with`, by the process that entered it")
        writer = self._output._begin(path, rows, self._written.append)
        with self._lock:
            self._writers = [one for one in self._writers if not one.closed] + [writer]
        return writer

    def __enter__(self) -> Transaction:
        if self._process is not None:
            raise self._out_of_order("a transaction is entered once")
        self._process = os.getpid()
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if self._process != os.getpid():
            # A process that forked: the files are its parent's, to commit or to remove.
            if kind is None:
                raise self._out_of_order("it ends in the process that began it")
            return
        self._process = 0
        unfinished = [writer for writer in self._writers if not writer.closed]
        try:
            if kind is not None:
                return
            if unfinished:
                raise self._out_of_order(f"{len(unfinished)} files were not closed")
            self._output._commit(self._written, self._replace)
            self._written = []
        finally:
            for writer in unfinished:
                writer.discard()
            for part in self._written:
                _remove(os.path.join(self._output._parts_folder(), part.name))
            self._written = []

    def _out_of_order(self, what: str) -> SealedError:
        return SealedError("WRITER_STATE", f"{self._output.label}: {what}")


_INPUT = ("name", "datasetId", "version", "format", "mediaType", "folder", "parts")
_OUTPUT = ("name", "datasetId", "format", "mediaType", "folder", "partsFolder")


def _remove(file: str) -> None:
    try:
        os.unlink(file)
    except OSError:
        pass  # Init removes at the end what no manifest names.


def _local(folder: str) -> str:
    path = folder[len("file:") :] if folder.startswith("file:") else folder
    if path.startswith("/"):
        return path
    raise SealedError("PATH", f"wanted a folder of this machine, seen {folder}")


def _text(told: Mapping[str, Any], name: str) -> str:
    if not isinstance(told[name], str):
        raise BrokerError("PROTOCOL", f"{name}: wanted text")
    return str(told[name])


def _count(told: Mapping[str, Any], name: str) -> int:
    if type(told[name]) is not int or told[name] < 0:
        raise BrokerError("PROTOCOL", f"{name}: wanted a whole number")
    return int(told[name])
