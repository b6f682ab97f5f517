"""Whom the client believes, and when it asks again."""

import copy
import json
import socket
import tempfile
import unittest
from dataclasses import replace

from cloister import KmsClient, KmsConnectionError, KmsError, Pin, Retries
from cloister.transport import Answer, Transport

from .world import PIN, QUICK, WORLD, owner


class PinTest(unittest.TestCase):
    def test_another_key_service_is_sent_nothing(self) -> None:
        false = replace(PIN, url=WORLD["otherPin"]["url"])
        with KmsClient(false, WORLD["credential"], retries=QUICK) as kms:
            with self.assertRaises(KmsConnectionError) as caught:
                kms.list_keys()
        self.assertEqual(caught.exception.code, "FALSE_KMS")

    def test_nobody_there_is_told(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with KmsClient(replace(PIN, url=f"https://127.0.0.1:{port}"), retries=QUICK) as kms:
            with self.assertRaises(KmsConnectionError) as caught:
                kms.list_keys()
        self.assertEqual(caught.exception.code, "UNREACHABLE")

    def test_a_pin_that_contradicts_itself_is_refused(self) -> None:
        for change in (
            {"kmsId": "0" * 64},
            {"identityKey": WORLD["otherPin"]["identityKey"]},
            {"certificate": WORLD["otherPin"]["certificate"]},
            {"url": "http://127.0.0.1:1"},
            {"more": ""},
        ):
            pin = {**copy.deepcopy(WORLD["pin"]), **change}
            with self.subTest(change=list(change)), self.assertRaises(ValueError):
                Pin.parse(pin)

    def test_a_file_that_is_no_pin_is_told_by_its_name(self) -> None:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("secret of an account")
            file.flush()
            with self.assertRaisesRegex(ValueError, f"^{file.name}: wanted a pin"):
                Pin.load(file.name)

    def test_a_credential_with_its_end_of_line_is_refused_and_not_printed(self) -> None:
        with self.assertRaisesRegex(ValueError, r"strip\(\)") as caught:
            KmsClient(PIN, "secret\n").list_keys()
        self.assertNotIn("secret", str(caught.exception))

    def test_no_credential_is_refused_in_the_service_s_words(self) -> None:
        with KmsClient(PIN) as kms, self.assertRaises(KmsError) as caught:
            kms.list_keys()
        self.assertEqual((caught.exception.code, caught.exception.status), ("UNAUTHENTICATED", 401))

    def test_no_secret_is_printed(self) -> None:
        with owner() as kms:
            self.assertNotIn(WORLD["credential"], repr(kms) + repr(vars(kms)))


class Scripted(Transport):
    """Answers as told, in place of the network."""

    def __init__(self, answers: list) -> None:
        self.waits: list = []
        self.sent = 0
        self.answers = answers
        super().__init__(
            PIN,
            None,
            timeout=1,
            retries=Retries(attempts=4, first_wait=0.1, longest_wait=0.3),
            sleep=self.waits.append,
        )

    def exchange(self, method, path, body) -> Answer:
        self.sent += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def refusal(status: int, code: str, retry_after=None) -> Answer:
    body = {"code": code, "message": "", "reasons": []}
    return Answer(status, json.dumps(body).encode(), retry_after)


DONE = Answer(200, b"{}")


class RetriesTest(unittest.TestCase):
    def test_busy_is_waited_for_with_jitter(self) -> None:
        transport = Scripted([refusal(429, "RATE_LIMITED"), refusal(503, "UNAVAILABLE"), DONE])
        self.assertEqual(transport.send("POST", "/", {}, idempotent=True), {})
        self.assertEqual(transport.sent, 3)
        self.assertLessEqual(transport.waits[0], 0.1)
        self.assertLessEqual(transport.waits[1], 0.2)
        again = Scripted([refusal(429, "RATE_LIMITED"), DONE])
        again.send("POST", "/", {}, idempotent=True)
        self.assertNotEqual(transport.waits[0], again.waits[0])

    def test_retry_after_is_heeded_up_to_a_limit(self) -> None:
        transport = Scripted([refusal(429, "RATE_LIMITED", 60.0), DONE])
        transport.send("POST", "/", {}, idempotent=False)
        self.assertGreaterEqual(transport.waits[0], 0.3)
        self.assertLessEqual(transport.waits[0], 0.4)

    def test_what_may_have_been_done_is_not_sent_again(self) -> None:
        for answer in (
            refusal(503, "UNAVAILABLE"),
            KmsConnectionError("UNREACHABLE", "broke"),
            KmsConnectionError("TIMEOUT", "late"),
        ):
            transport = Scripted([answer, DONE])
            with self.assertRaises((KmsError, KmsConnectionError)):
                transport.send("POST", "/", {}, idempotent=False)
            self.assertEqual(transport.sent, 1)

    def test_other_refusals_are_final(self) -> None:
        for status, code in ((403, "NOT_OWNER"), (500, "INTERNAL"), (404, "NOT_FOUND")):
            transport = Scripted([refusal(status, code), DONE])
            with self.assertRaises(KmsError) as caught:
                transport.send("GET", "/", idempotent=True)
            self.assertEqual((caught.exception.code, transport.sent), (code, 1))

    def test_it_gives_up(self) -> None:
        transport = Scripted([refusal(503, "UNAVAILABLE")] * 9)
        with self.assertRaises(KmsError):
            transport.send("GET", "/", idempotent=True)
        self.assertEqual((transport.sent, len(transport.waits)), (4, 3))

    def test_answers_that_are_none_are_told(self) -> None:
        for body in (b"", b"[]", b"<html>", b'{"code":7}'):
            transport = Scripted([Answer(400, body)])
            with self.assertRaises(KmsConnectionError) as caught:
                transport.send("GET", "/", idempotent=True)
            self.assertEqual(caught.exception.code, "ANSWER")


if __name__ == "__main__":
    unittest.main()
