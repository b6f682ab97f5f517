"""The datasets of the job that this program is run for, as init's key broker tells them."""

from __future__ import annotations

import json
import os
import posixpath
import re
import socket
import struct
from dataclasses import dataclass
from typing import Any, Optional, Sequence, Tuple

BROKER_VARIABLE = "CLOISTER_KEY_BROKER"
_LONGEST_REPLY = 16 * 1024 * 1024
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_PATTERN = re.compile(r"[*?\[{\\]")


@dataclass(frozen=True)
class Dataset:
    """An input or an output."""

    kind: str
    name: str
    folder: str

    def holds(self, path: str) -> bool:
        """Whether a path leads to the folder, into it, or to one that it is in; by links, too."""
        return any(
            _is_within(here, there)
            for here in _places(self.folder)
            for there in _places(path)
        )


def job_datasets(socket_path: Optional[str] = None) -> Sequence[Dataset]:
    """What the job reads and writes; nothing outside of an instance whose interface is ``keys``."""
    path = socket_path or os.environ.get(BROKER_VARIABLE)
    if path is None:
        return ()
    job = _ask(path, {"ask": "job"})
    return tuple(
        Dataset(kind, dataset["name"], dataset["folder"])
        for kind, datasets in (("input", job["inputs"]), ("output", job["outputs"]))
        for dataset in datasets
    )


def scheme_of(path: str) -> str:
    """The scheme in front of a path, if there is one."""
    found = _SCHEME.match(path)
    return found.group(1).lower() if found else ""


_Place = Tuple[str, str, str]


def _is_within(here: _Place, there: _Place) -> bool:
    """Whether one of two places is in the other."""
    if here[:2] != there[:2]:
        return False
    one, other = f"{here[2].rstrip('/')}/", f"{there[2].rstrip('/')}/"
    return one.startswith(other) or other.startswith(one)


def _places(path: str) -> Sequence[_Place]:
    """Scheme, host and normal path, as it is written and as the links of this machine lead. Hadoop takes
    ``file:/a``, ``file:///a`` and ``/a`` for one."""
    scheme = scheme_of(path) or "file"
    rest = _SCHEME.sub("", path, count=1)
    host = ""
    if rest.startswith("//") and scheme != "file":
        host, _, rest = rest[2:].partition("/")
    # A pattern may lead anywhere below what is in front of it.
    fixed = _PATTERN.split(rest, maxsplit=1)
    if len(fixed) > 1:
        rest = posixpath.dirname(fixed[0])
    absolute = "/" + rest.lstrip("/")
    written = (scheme, host, posixpath.normpath(absolute))
    return (written, (scheme, host, os.path.realpath(absolute))) if scheme == "file" else (written,)


def _ask(path: str, request: object) -> Any:
    """One request on a connection of its own."""
    frame = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as broker:
        broker.connect(path)
        broker.sendall(struct.pack(">I", len(frame)) + frame)
        (length,) = struct.unpack(">I", _exactly(broker, 4))
        if length > _LONGEST_REPLY:
            raise ConnectionError(f"the key broker's reply has {length} bytes")
        reply = json.loads(_exactly(broker, length))
    if "error" in reply:
        raise ConnectionError(f"the key broker says {reply['error']['message']}")
    return reply["ok"]


def _exactly(broker: socket.socket, length: int) -> bytes:
    got = bytearray()
    while len(got) < length:
        more = broker.recv(length - len(got))
        if more == b"":
            raise ConnectionError("the key broker has gone")
        got += more
    return bytes(got)
