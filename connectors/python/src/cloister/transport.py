"""Calls to one pinned key service, sent again where that does no harm."""

from __future__ import annotations

import http.client
import json
import random
import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, List, Mapping, Optional, Tuple
from urllib.parse import urlsplit

from cryptography import x509

from .errors import KmsConnectionError, refusal_from
from .pin import Pin

#: Most bytes of an answer.
_MAX_ANSWER = 32 << 20
#: Seconds after which a connection that nobody used is not used again: the other end may be closing it.
_IDLE_SECONDS = 30.0


@dataclass(frozen=True)
class Retries:
    """How often and how patiently a call is sent again.

    Waits are random between nothing and a limit that doubles each time (full jitter), so that many
    clients do not come back at once.
    """

    attempts: int = 5
    first_wait: float = 0.1
    longest_wait: float = 5.0


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: bytes
    retry_after: Optional[float] = None


class NotSent(KmsConnectionError):
    """Nothing of the request reached anybody: it may always be sent again."""


_CREDENTIAL = re.compile(r"[!-~]*")


class Transport:
    """Sends calls over connections that are kept open. Threads may share one."""

    def __init__(
        self,
        pin: Pin,
        credential: Optional[str],
        *,
        timeout: float,
        retries: Retries,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._pin = pin
        # Told here: what sends it would print it.
        if credential is not None and not _CREDENTIAL.fullmatch(credential):
            raise ValueError(
                "credential: wanted one word, as `.read_text().strip()` gives it, seen something else"
            )
        self._credential = credential
        self._timeout = timeout
        self._retries = retries
        self._sleep = sleep
        self._context = _context_of(pin)
        self._idle: List[Tuple[http.client.HTTPConnection, float]] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Closes the connections kept open."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def send(
        self,
        method: str,
        path: str,
        body: Optional[Mapping[str, Any]] = None,
        *,
        idempotent: bool,
    ) -> Any:
        """The JSON of an answer.

        Sent again: whatever reached nobody, and what was refused for its rate (429); where the call is
        idempotent also after a broken connection and when the service could not answer (503).
        """
        limit = self._retries.first_wait
        for attempt in range(1, self._retries.attempts + 1):
            is_last = attempt == self._retries.attempts
            wait: Optional[float] = None
            try:
                answer = self.exchange(method, path, body)
                is_busy = answer.status == 429 or (answer.status == 503 and idempotent)
                if is_last or not is_busy:
                    return _value_of(answer)
                wait = answer.retry_after
            except NotSent as error:
                if is_last or error.code != "UNREACHABLE":
                    raise
            except KmsConnectionError as error:
                may_again = idempotent and error.code in ("UNREACHABLE", "TIMEOUT")
                if is_last or not may_again:
                    raise
            # No secret hangs on this: it only keeps clients from coming back all at once.
            jitter = random.uniform(0, limit)
            self._sleep(jitter if wait is None else min(wait, self._retries.longest_wait) + jitter)
            limit = min(limit * 2, self._retries.longest_wait)
        raise AssertionError("the last attempt returns or raises")

    def exchange(self, method: str, path: str, body: Optional[Mapping[str, Any]]) -> Answer:
        """One request and its answer."""
        headers = {"accept": "application/json"}
        if self._credential is not None:
            headers["authorization"] = f"Bearer {self._credential}"
        sent = None
        if body is not None:
            sent = json.dumps(body).encode("utf-8")
            headers["content-type"] = "application/json"
        connection = self._take() or self._connect()
        try:
            connection.request(method, path, body=sent, headers=headers)
            response = connection.getresponse()
            data = response.read(_MAX_ANSWER + 1)
            if len(data) > _MAX_ANSWER:
                raise KmsConnectionError("ANSWER", "the answer is too long")
            answer = Answer(response.status, data, _seconds(response.getheader("retry-after")))
            will_close = response.will_close
        except KmsConnectionError:
            connection.close()
            raise
        except socket.timeout as error:
            connection.close()
            raise KmsConnectionError("TIMEOUT", "the key service did not answer in time") from error
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise KmsConnectionError(
                "UNREACHABLE", "the connection to the key service broke"
            ) from error
        if will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append((connection, time.monotonic()))
        return answer

    def _take(self) -> Optional[http.client.HTTPConnection]:
        with self._lock:
            while self._idle:
                connection, since = self._idle.pop()
                if time.monotonic() - since < _IDLE_SECONDS:
                    return connection
                connection.close()
        return None

    def _connect(self) -> http.client.HTTPConnection:
        """A connection whose other end proved to be the pinned key service, before it is sent a byte."""
        address = urlsplit(self._pin.url)
        host, port = address.hostname or "", address.port or 443
        try:
            plain = socket.create_connection((host, port), timeout=self._timeout)
        except socket.timeout as error:
            raise NotSent("UNREACHABLE", "no connection to the key service in time") from error
        except OSError as error:
            raise NotSent("UNREACHABLE", f"the key service cannot be reached ({error})") from error
        try:
            secured = self._context.wrap_socket(plain, server_hostname=self._pin.tls_name)
        except ssl.SSLError as error:
            plain.close()
            raise NotSent(
                "FALSE_KMS", f"whoever answered is not the pinned key service ({error.reason})"
            ) from error
        except OSError as error:
            plain.close()
            raise NotSent("UNREACHABLE", "the connection broke in its handshake") from error
        leaf = secured.getpeercert(binary_form=True)
        # What OpenSSL has checked already, once more and by the pinned key itself.
        if leaf is None or not self._pin.signed(x509.load_der_x509_certificate(leaf)):
            secured.close()
            raise NotSent("FALSE_KMS", "whoever answered is not the pinned key service")
        connection = http.client.HTTPConnection(host, port, timeout=self._timeout)
        connection.sock = secured
        return connection


def _context_of(pin: Pin) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=pin.certificate)
    # Python 3.13 demands key identifiers in certificates by default. One certificate is trusted here,
    # by its key, and needs none to be found by.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _seconds(header: Optional[str]) -> Optional[float]:
    return float(header) if header is not None and header.isdigit() else None


def _value_of(answer: Answer) -> Any:
    try:
        value = json.loads(answer.body.decode("utf-8"))
    except ValueError as error:
        raise KmsConnectionError("ANSWER", "the answer is not JSON") from error
    if answer.status != 200:
        raise refusal_from(answer.status, value)
    return value
