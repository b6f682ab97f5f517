"""The datasets of a job over a real key broker, which whoever started this has in its process."""

from __future__ import annotations

import json
import multiprocessing
import os
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cloister_job import BrokerError, Job, SealedError
from cloister_job.broker import Broker

from .false_broker import answering

PEOPLE = {
    "people.csv": "name,age\n" + "".join(f"name-{n},{n % 90}\n" for n in range(20_000)),
    "more/people.csv": "name,age\nada,36\n",
    "empty": "",
}


def write_in_child(path: str) -> None:
    """Forked, with its parent's connections."""
    with JOB.output("result").create(path) as file:
        file.write(path.encode())


JOB: Any = Job() if "CLOISTER_KEY_BROKER" in os.environ else None
if JOB is not None:
    unittest.addModuleCleanup(JOB.close)


class JobTest(unittest.TestCase):
    def setUp(self) -> None:
        self.people = JOB.input("people")
        self.result = JOB.output("result")

    def test_is_what_the_broker_tells(self) -> None:
        self.assertEqual([one.name for one in JOB.inputs], ["people"])
        self.assertEqual([one.name for one in JOB.outputs], ["result"])
        self.assertEqual((self.people.version, self.people.format), (1, "files"))
        self.assertEqual(sorted(self.people.paths), sorted(PEOPLE))
        with self.assertRaisesRegex(BrokerError, r"wanted one of people; seen 'persons' \[UNKNOWN_INPUT\]"):
            JOB.input("persons")
        with self.assertRaisesRegex(BrokerError, "UNKNOWN_OUTPUT"):
            JOB.output("people")

    def test_opens_inputs(self) -> None:
        for path, text in PEOPLE.items():
            with self.people.open(path) as file:
                self.assertEqual(file.read().decode(), text)
            part = self.people.part(path)
            self.assertEqual(self.people.size_of(part), len(text))
        with self.people.open("people.csv") as file:
            file.seek(-8, os.SEEK_END)
            self.assertEqual(file.read().decode(), PEOPLE["people.csv"][-8:])
        for path in ("never", "../people.csv", None):
            with self.assertRaisesRegex(SealedError, r"input people: wanted one of .*people\.csv"):
                self.people.open(path)

    def test_writes_and_reads_back(self) -> None:
        with self.result.create("own/a.bin", rows=3) as file:
            file.write(b"x" * 100_000)
            self.assertNotIn("own/a.bin", self.result.paths)
        part = self.result.part("own/a.bin")
        self.assertEqual((part.rows, self.result.size_of(part)), (3, 100_000))
        with self.result.open("own/a.bin") as back:
            self.assertEqual(back.read(), b"x" * 100_000)
        with self.assertRaisesRegex(BrokerError, "PART"):
            with self.result.create("own/a.bin") as file:
                file.write(b"again")
        with self.result.open("own/a.bin") as back:
            self.assertEqual(len(back.read()), 100_000)
        with self.assertRaisesRegex(SealedError, "PATH"):
            self.result.create("../a")

    def test_commits_together_or_not_at_all(self) -> None:
        with self.result.transaction() as parts:
            for name in ("one", "two"):
                with parts.create(f"together/{name}") as file:
                    file.write(name.encode())
            self.assertNotIn("together/one", self.result.paths)
        self.assertLessEqual({"together/one", "together/two"}, set(self.result.paths))
        folder = Path(self.result._parts_folder())
        before = sorted(os.listdir(folder))
        with self.assertRaisesRegex(RuntimeError, "in between"):
            with self.result.transaction() as parts:
                with parts.create("never/one") as file:
                    file.write(b"1")
                parts.create("never/two").write(b"2")
                raise RuntimeError("in between")
        with self.assertRaisesRegex(SealedError, "1 files were not closed.*WRITER_STATE"):
            with self.result.transaction() as parts:
                parts.create("never/three").write(b"3")
        self.assertEqual(sorted(os.listdir(folder)), before)
        self.assertFalse([path for path in self.result.paths if path.startswith("never")])

    def test_takes_files_of_a_transaction_in_its_with_alone(self) -> None:
        parts = self.result.transaction()
        with self.assertRaisesRegex(SealedError, "begun in its `with`.*WRITER_STATE"):
            parts.create("never/committed")
        folder = self.result._parts_folder()
        before = sorted(os.listdir(folder))
        with self.result.transaction() as parts:
            with parts.create("forked/one") as file:
                file.write(b"1")
            child = os.fork()
            if child == 0:
                try:
                    parts.__exit__(RuntimeError, RuntimeError(), None)
                    parts.__exit__(None, None, None)
                except SealedError as error:
                    os._exit(7 if error.code == "WRITER_STATE" else 1)
                finally:
                    os._exit(2)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 7)
        self.assertEqual(len(os.listdir(folder)), len(before) + 1)
        with self.result.open("forked/one") as back:
            self.assertEqual(back.read(), b"1")
        with self.assertRaisesRegex(SealedError, "WRITER_STATE"):
            parts.create("never/committed")

    def test_serves_threads_and_forked_processes(self) -> None:
        paths = [f"threads/{number}" for number in range(40)]
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write_in_child, paths))
        children = [f"children/{number}" for number in range(4)]
        processes = [
            multiprocessing.get_context("fork").Process(target=write_in_child, args=(path,))
            for path in children
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
            self.assertEqual(process.exitcode, 0)
        self.assertLessEqual({*paths, *children}, set(self.result.paths))
        for path in children:
            with self.result.open(path) as file:
                self.assertEqual(file.read().decode(), path)

    def test_refuses_what_the_storage_has_changed(self) -> None:
        with self.result.transaction() as parts:
            for name in ("one", "two"):
                with parts.create(f"changed/{name}") as file:
                    file.write(name.encode() * 50_000)
        one, two = (self.result.part(f"changed/{name}") for name in ("one", "two"))
        folder = Path(self.result._parts_folder())
        place = folder / one.name
        whole = place.read_bytes()
        flipped = bytearray(whole)
        flipped[5000] ^= 1
        try:
            for data, code in [
                (bytes(flipped), "TAG"),
                (whole[:-1], "PART_CHANGED"),
                ((folder / two.name).read_bytes(), "PART_FOREIGN"),
            ]:
                place.write_bytes(data)
                with self.assertRaises(SealedError) as caught:
                    with self.result.open("changed/one") as file:
                        file.read()
                self.assertEqual(caught.exception.code, code)
        finally:
            place.write_bytes(whole)

    def test_writes_what_others_will_read(self) -> None:
        with self.result.transaction() as parts:
            for length in (0, 1, 65_480, 65_481, 200_000):
                with parts.create(f"pattern/{length}", rows=length) as file:
                    file.write(bytes((i * 7 + 3) % 256 for i in range(length)))


class BrokerTest(unittest.TestCase):
    def test_is_not_there_outside_of_an_instance(self) -> None:
        told = os.environ.pop("CLOISTER_KEY_BROKER", None)
        try:
            with self.assertRaisesRegex(BrokerError, "interface: keys.*NO_INSTANCE"):
                Job()
        finally:
            if told is not None:
                os.environ["CLOISTER_KEY_BROKER"] = told

    def test_that_answers_out_of_order_is_not_believed(self) -> None:
        for reply, code in [
            (b'{"ok":{}}', "PROTOCOL"),
            (b'{"ok":[]}', "PROTOCOL"),
            (b'{"ok":{},"ok":{}}', "PROTOCOL"),
            (b'{"ok":{"deks":{}}}', "PROTOCOL"),
            (b'{"ok":{"deks":{"' + b"0" * 32 + b'":"AAAA"}}}', "PROTOCOL"),
            (b'{"ok":{"deks":{"' + b"0" * 32 + b'":"not base64!"}}}', "PROTOCOL"),
            (b"secret bytes", "PROTOCOL"),
            (b"[" * 100_000, "PROTOCOL"),
            (b'{"error":{"code":"DENIED","message":"no"}}', "DENIED"),
            (b'{"error":{"code":"no code","message":"no"}}', "PROTOCOL"),
            (None, "UNAVAILABLE"),
        ]:
            with self.assertRaises(BrokerError) as caught:
                Broker(answering(reply)).open("people", "0" * 32)
            self.assertEqual(caught.exception.code, code, reply)
            self.assertNotIn("secret", str(caught.exception))
            self.assertFalse(hasattr(caught.exception.__context__, "doc"), reply)
        with self.assertRaisesRegex(BrokerError, "UNAVAILABLE"):
            Broker("/nowhere/keys.sock").job()
        with self.assertRaisesRegex(BrokerError, "wanted at most .* bytes.*PROTOCOL"):
            Broker(answering(b"", length=2**31)).job()

    def test_that_told_a_part_which_leads_elsewhere_is_not_believed(self) -> None:
        part = {
            **{"number": 0, "name": "x.sealed", "path": "x", "fileId": "0" * 32, "rows": None},
            **{"fixedDigest": "0" * 64, "length": 5000, "lastTag": "0" * 32},
        }
        for change in [
            *[{"name": "../x"}, {"name": "a/b"}, {"path": "/x"}, {"path": "../x"}, {"number": True}],
            *[{"fileId": "G" * 32}, {"length": 10}, {"rows": -1}, {"lastTag": None}, {"more": 1}],
        ]:
            reply = json.dumps({"ok": {"parts": [{**part, **change}]}}).encode()
            with self.assertRaisesRegex(BrokerError, "PROTOCOL"):
                Broker(answering(reply)).parts("people", 1)


if __name__ == "__main__":
    unittest.main()
