"""Asks init's key broker: docs/protocols/key-broker.md."""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import socket
import struct
from collections import deque
from typing import Any, Deque, Dict, List, Mapping, Optional, Sequence, Tuple

from .errors import BrokerError
from .header import Slot
from .part import Part

BROKER_VARIABLE = "CLOISTER_KEY_BROKER"
_LONGEST_FRAME = 16 * 1024 * 1024
_PAGE = 1000
_DEK = 32
_WRITTEN = ("written", "commits", "total", "parts")
_CODE = re.compile(r"[A-Z_]{1,64}")


class Broker:
    """The key broker of this instance. For any number of threads, and of processes that fork."""

    def __init__(self, socket_path: Optional[str] = None) -> None:
        path = socket_path or os.environ.get(BROKER_VARIABLE)
        if path is None:
            raise BrokerError(
                "NO_INSTANCE",
                f"{BROKER_VARIABLE} is not set: sealed datasets are there in an instance whose image has"
                " `entry.interface: keys`",
            )
        self._path = path
        self._process = os.getpid()
        self._idle: Deque[socket.socket] = deque()

    def close(self) -> None:
        """Ends the connections that are not in use. What is asked later has new ones."""
        while self._idle:
            self._idle.pop().close()

    def job(self) -> Dict[str, Any]:
        """What there is to do, as the broker says it."""
        job = self._ask("job")
        members(job, "job", "version", "inputs", "outputs", "scratchFolder")
        if job["version"] != 1:
            raise BrokerError("PROTOCOL", f"job: wanted version 1, seen {job['version']!r}")
        return job

    def parts(self, name: str, count: int) -> List[Part]:
        """All parts of an input, in its manifest's order."""
        parts: List[Part] = []
        while len(parts) < count:
            asked = {"from": len(parts), "size": _PAGE}
            reply = members(self._ask("parts", input=name, **asked), "parts", "parts")
            page = _parts(reply["parts"])
            if not page or len(parts) + len(page) > count:
                seen = len(parts) + len(page)
                raise BrokerError("PROTOCOL", f"parts of {name}: wanted {count}, seen {seen}")
            parts += page
        return parts

    def written_since(self, name: str, commits: int) -> Optional[Tuple[int, List[Part]]]:
        """What was committed to an output, after how many commits; None where it is after as many."""
        now, _, _ = self._written(name, 0, 1)
        if now == commits:
            return None
        while True:
            since, total, parts = self._written(name, 0, _PAGE)
            now, page = since, parts
            while now == since and page and len(parts) < total:
                now, _, page = self._written(name, len(parts), _PAGE)
                parts = parts + page
            # Between two pages somebody may commit: then it is another list.
            if now != since:
                continue
            if len(parts) != total:
                raise BrokerError("PROTOCOL", f"parts of {name}: wanted {total}, seen {len(parts)}")
            return since, parts

    def _written(self, name: str, start: int, size: int) -> Tuple[int, int, List[Part]]:
        asked = {"from": start, "size": size}
        reply = members(self._ask("written", output=name, **asked), *_WRITTEN)
        if type(reply["commits"]) is not int or type(reply["total"]) is not int:
            raise BrokerError("PROTOCOL", "written: wanted whole numbers")
        return reply["commits"], reply["total"], _parts(reply["parts"])

    def open(self, name: str, file_id: str) -> bytes:
        """The key of one of an input's files."""
        return _dek(self._ask("open", input=name, files=[file_id]), file_id)

    def reopen(self, name: str, file_id: str) -> bytes:
        """The key of a file that was committed to an output."""
        return _dek(self._ask("reopen", output=name, files=[file_id]), file_id)

    def create(self, name: str, file_id: str, digest: str) -> Tuple[bytes, Sequence[Slot]]:
        """A key for a file that is about to be written, and its wraps."""
        asked = [{"fileId": file_id, "fixedDigest": digest}]
        reply = members(self._ask("create", output=name, files=asked), "create", "files")
        made = members(members(reply["files"], "files", file_id)[file_id], "file", "dek", "slots")
        if not isinstance(made["slots"], list):
            raise BrokerError("PROTOCOL", "slots: wanted a list")
        return _bytes("dek", made["dek"], _DEK), tuple(_slot(slot) for slot in made["slots"])

    def commit(self, name: str, parts: Sequence[Part], replace: bool) -> None:
        """Says which parts an output has, all at once."""
        mode = "replace" if replace else "append"
        listed = [part.to_json() for part in parts]
        members(self._ask("commit", output=name, mode=mode, parts=listed), "commit")

    def _ask(self, what: str, **asked: Any) -> Dict[str, Any]:
        request = json.dumps({"ask": what, **asked}).encode()
        if len(request) > _LONGEST_FRAME:
            raise BrokerError(
                "MALFORMED",
                f"request: wanted at most {_LONGEST_FRAME} bytes, seen {len(request)}; an output of fewer,"
                " larger files has a shorter list",
            )
        reply = self._exchange(request)
        if isinstance(reply, Mapping) and "error" in reply:
            error = members(members(reply, "reply", "error")["error"], "error", "code", "message")
            if not isinstance(error["code"], str) or _CODE.fullmatch(error["code"]) is None:
                raise BrokerError("PROTOCOL", "error: wanted a code of the protocol")
            raise BrokerError(error["code"], str(error["message"]))
        ok = members(reply, "reply", "ok")["ok"]
        if not isinstance(ok, dict):
            raise BrokerError("PROTOCOL", "reply: wanted an object")
        return ok

    def _exchange(self, request: bytes) -> Any:
        """One request and its reply. A connection that broke off in between is used no more."""
        connection = None
        try:
            connection = self._connection()
            connection.sendall(struct.pack(">I", len(request)) + request)
            (length,) = struct.unpack(">I", _exactly(connection, 4))
            if length > _LONGEST_FRAME:
                raise BrokerError("PROTOCOL", f"reply: wanted at most {_LONGEST_FRAME} bytes")
            reply = _json(_exactly(connection, length))
            if reply is None:
                raise BrokerError("PROTOCOL", "reply: wanted JSON, seen something else")
        except BaseException as error:
            if connection is not None:
                connection.close()
            if isinstance(error, OSError):
                message = f"the key broker at {self._path}: {error}"
                raise BrokerError("UNAVAILABLE", message) from error
            raise
        self._idle.append(connection)
        return reply

    def _connection(self) -> socket.socket:
        if self._process != os.getpid():
            # A child that forked would read its parent's replies.
            self._process, self._idle = os.getpid(), deque()
        try:
            return self._idle.pop()
        except IndexError:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(self._path)
            return connection


def members(value: Any, what: str, *names: str) -> Dict[str, Any]:
    """An object with exactly these members."""
    if not isinstance(value, dict) or set(value) != set(names):
        wanted = ", ".join(names) or "no member"
        raise BrokerError("PROTOCOL", f"{what}: wanted an object with {wanted}")
    return value


def _json(data: bytes) -> Any:
    """What JSON says; None where it is none. The parser's own error has the reply in it, and so a key: it
    is not to be the context of ours."""
    try:
        return json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None


def _once(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a member twice")
    return made


def _parts(value: Any) -> List[Part]:
    if not isinstance(value, list) or len(value) > _PAGE:
        raise BrokerError("PROTOCOL", f"parts: wanted a list of at most {_PAGE}")
    return [Part.parse(part) for part in value]


def _slot(value: Any) -> Slot:
    slot = members(value, "slot", "kmsId", "cmkId", "cmkVersion", "wrappedDek")
    ids, version = (slot["kmsId"], slot["cmkId"]), slot["cmkVersion"]
    if not all(isinstance(name, str) and name.isascii() for name in ids) or type(version) is not int:
        raise BrokerError("PROTOCOL", "slot: not as docs/formats/sealed.md says")
    return Slot(ids[0], ids[1], version, _bytes("wrappedDek", slot["wrappedDek"]))


def _dek(reply: Dict[str, Any], file_id: str) -> bytes:
    deks = members(members(reply, "keys", "deks")["deks"], "deks", file_id)
    return _bytes("dek", deks[file_id], _DEK)


def _bytes(what: str, text: Any, length: Optional[int] = None) -> bytes:
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise BrokerError("PROTOCOL", f"{what}: wanted base64url without padding") from None
    if length is not None and len(data) != length:
        raise BrokerError("PROTOCOL", f"{what}: wanted {length} bytes, seen {len(data)}")
    return data


def _exactly(connection: socket.socket, length: int) -> bytes:
    got = bytearray(length)
    view = memoryview(got)
    while len(view) > 0:
        received = connection.recv_into(view)
        if received == 0:
            raise ConnectionError("it has closed the connection")
        view = view[received:]
    return bytes(got)
