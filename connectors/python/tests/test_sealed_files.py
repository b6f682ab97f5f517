"""Sealed files as cloister_job reads and writes them, without a broker."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import pickle
import subprocess
import tempfile
import threading
import tracemalloc
import unittest
import warnings
from pathlib import Path
from typing import Any, List

from cloister_job import Part, PartWriter, SealedError
from cloister_job.header import Slot
from cloister_job.part import is_path
from cloister_job.reader import SealedReader, buffered, open_part
from cloister_job.writer import Target

REPOSITORY = Path(__file__).resolve().parents[3]
VECTORS = REPOSITORY / "vectors"
EXPECT: Any = json.loads((VECTORS / "sealed/expect.json").read_text())
KEY, OTHER_KEY = bytes.fromhex(EXPECT["key"]), bytes.fromhex(EXPECT["otherKey"])
SLOT = Slot("kms", "cmk", 1, b"w" * 60)
HEADER = 4096

#: Runs that take long where somebody asked for it.
THOROUGH = os.environ.get("SLOW") == "1"


def pattern(length: int) -> bytes:
    period = bytes((i * 7 + 3) % 256 for i in range(256))
    return (period * (length // 256 + 1))[:length]


def opened(path: Path, key: bytes = KEY) -> SealedReader:
    return SealedReader(os.open(path, os.O_RDONLY), lambda _header: key, "file")


class WithFolder(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.parts: List[Part] = []

    def target(self, slots: Any = (SLOT,)) -> Target:
        return Target(
            "ab" * 16, 'a "quoted" \\ type', str(self.folder), "output x", lambda _id, _digest: (KEY, slots)
        )

    def writer(self, path: str = "a", slots: Any = (SLOT,)) -> PartWriter:
        return PartWriter(self.target(slots), path, None, self.parts.append)

    def write(self, plaintext: bytes) -> Path:
        with self.writer() as file:
            file.write(plaintext)
        return self.folder / self.parts[-1].name

    def refused(self, sealed: bytes, key: bytes = KEY) -> str:
        file = self.folder / "altered"
        file.write_bytes(sealed)
        with self.assertRaises(SealedError) as caught:
            with opened(file, key) as reader:
                reader.readall()
        return caught.exception.code


class VectorsTest(WithFolder):
    def test_are_read_whole_in_pieces_and_from_anywhere(self) -> None:
        self.assertGreater(len(EXPECT["files"]), 10)
        for file in EXPECT["files"]:
            plaintext = pattern(file["length"])
            with opened(VECTORS / "sealed" / file["name"]) as reader:
                self.assertEqual((reader.size, reader.last_tag), (file["length"], file["lastTag"]))
                fixed = reader.header.fixed
                self.assertEqual(
                    (fixed.part, fixed.media_type, fixed.file_id),
                    (file["part"], file["mediaType"], file["fileId"]),
                )
                self.assertEqual(reader.readall(), plaintext)
                self.assertEqual(reader.read(1), b"")
                for at in range(0, file["length"], max(1, file["length"] // 50)):
                    reader.seek(at)
                    self.assertEqual(reader.read(37), plaintext[at : at + 37])
                reader.seek(0)
                self.assertEqual(b"".join(iter(lambda: reader.read(1), b""))[:999], plaintext[:999])

    def test_that_are_refused_are(self) -> None:
        base = (VECTORS / "sealed" / EXPECT["base"]).read_bytes()
        self.assertGreater(len(EXPECT["refused"]), 50)
        for case in EXPECT["refused"]:
            sealed = bytearray(base)
            for edit in case["edits"]:
                data = bytes.fromhex(edit["bytes"])
                sealed[edit["at"] : edit["at"] + len(data)] = data
            cut = bytes(sealed[: case["length"]]).ljust(case["length"], b"\0")
            with self.subTest(case["name"]):
                self.assertIn(self.refused(cut), case["codes"])
        self.assertEqual(self.refused(base, OTHER_KEY), "HEADER_MAC")

    def test_any_bit_that_is_flipped_and_any_cut_is_refused(self) -> None:
        sealed = (VECTORS / "sealed/segments-256-length-201.sealed").read_bytes()
        for at in range(len(sealed)):
            # Most of it is padding.
            if not THOROUGH and 600 < at < HEADER and at % 50 != 0:
                continue
            for bit in range(8) if THOROUGH else [at % 8]:
                flipped = bytearray(sealed)
                flipped[at] ^= 1 << bit
                self.refused(bytes(flipped))
        for length in range(len(sealed)) if THOROUGH else range(0, len(sealed), 23):
            self.refused(sealed[:length])

    def test_nothing_of_an_altered_segment_is_given_out(self) -> None:
        sealed = bytearray((VECTORS / "sealed/segments-256-length-1000.sealed").read_bytes())
        sealed[HEADER + 2 * 256 + 100] ^= 1
        file = self.folder / "altered"
        file.write_bytes(sealed)
        plaintext = pattern(1000)
        with opened(file) as reader:
            into = bytearray(1000)
            with self.assertRaisesRegex(SealedError, r"segment 2 is not authentic \[TAG\]"):
                reader.seek(0)
                reader.readinto(into)
            # What stands in front of it is authentic; of the segment itself there is nothing.
            self.assertEqual(into[:440], plaintext[:440])
            self.assertEqual(into[440:], bytes(560))
            reader.seek(680)
            self.assertEqual(reader.read(), plaintext[680:])

    def test_a_file_that_is_cut_while_it_is_read_fails(self) -> None:
        file = self.folder / "cut"
        sealed = (VECTORS / "sealed/segments-256-length-1000.sealed").read_bytes()
        file.write_bytes(sealed)
        with opened(file) as reader:
            os.truncate(file, HEADER + 300)
            self.assertEqual(reader.read(200), pattern(200))
            with self.assertRaisesRegex(SealedError, "TRUNCATED"):
                reader.read()


class WriterTest(WithFolder):
    def test_writes_what_is_read_back(self) -> None:
        first, later = 65_536 - 56, 65_536 - 16
        for length in [0, 1, first - 1, first, first + 1, first + later, first + later + 1, 300_000]:
            plaintext = pattern(length)
            file = self.write(plaintext)
            part = self.parts[-1]
            self.assertEqual(part.length, file.stat().st_size)
            with open_part(str(self.folder), part, "ab" * 16, lambda: KEY, "output x") as reader:
                self.assertEqual(reader.readall(), plaintext)

    def test_what_tink_reads(self) -> None:
        tink = os.environ.get("CLOISTER_PYTHON")
        if tink is None:
            self.skipTest("Tink is there only where the tools are")
        vectors, lengths = [], [0, 1, 65_480, 65_481, 200_000]
        for length in lengths:
            file = self.write(pattern(length))
            sealed = file.read_bytes()
            json_length = int.from_bytes(sealed[14:18], "big")
            vectors.append(
                {
                    "keyHex": KEY.hex(),
                    "segmentSize": 65_536,
                    "associatedDataHex": sealed[: 18 + json_length].hex(),
                    "ciphertextBase64": base64.b64encode(sealed[HEADER:]).decode(),
                }
            )
        asked = json.dumps(vectors)
        done = subprocess.run(
            [tink, str(VECTORS / "tink/verify.py")], input=asked, capture_output=True, text=True, check=True
        )
        verdicts = json.loads(done.stdout)
        hashes = [hashlib.sha256(pattern(length)).hexdigest() for length in lengths]
        self.assertEqual([verdict.get("plaintextSha256") for verdict in verdicts], hashes)

    def test_of_a_write_that_fails_nothing_is_left(self) -> None:
        with self.assertRaisesRegex(RuntimeError, "in between"):
            with self.writer() as file:
                file.write(pattern(200_000))
                raise RuntimeError("in between")
        self.assertEqual((os.listdir(self.folder), self.parts), ([], []))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            self.writer("forgotten").write(b"1")
        self.assertIn("forgotten was not closed", str(caught[0].message))
        self.assertEqual((os.listdir(self.folder), self.parts), ([], []))
        file = self.writer()
        with self.assertRaises(TypeError):
            file.write("text")
        file.discard()
        with self.assertRaises(ValueError):
            file.write(b"more")
        self.assertEqual(os.listdir(self.folder), [])

    def test_a_full_disk_is_said(self) -> None:
        file = self.writer()
        file._file.close()
        file._file = open("/dev/full", "wb", buffering=0)
        with self.assertRaisesRegex(SealedError, "output x, a: .*NO_SPACE"):
            file.close()
        self.assertEqual((os.listdir(self.folder), self.parts), ([], []))

    def test_takes_a_larger_header_for_many_slots(self) -> None:
        many = tuple(Slot("kms", f"cmk-{number}", number, b"w" * 4096) for number in range(3))
        with self.writer(slots=many) as file:
            file.write(pattern(5000))
        with opened(self.folder / self.parts[0].name) as reader:
            self.assertEqual((reader.header.length, tuple(reader.header.slots)), (16_384, many))
            self.assertEqual(reader.readall(), pattern(5000))

    def test_threads_that_share_it_never_use_a_nonce_twice(self) -> None:
        file = self.writer()
        seal = file._cipher.seal
        seals: List[Any] = []
        other = threading.Thread(target=lambda: file.write(b"b" * 200_000))

        def meanwhile(segment: int, is_last: bool, plaintext: Any) -> bytes:
            seals.append((segment, is_last))
            if len(seals) == 1:
                other.start()
                other.join(0.2)
            return seal(segment, is_last, plaintext)

        file._cipher.seal = meanwhile  # type: ignore[method-assign]
        file.write(b"a" * 200_000)
        other.join()
        file.close()
        self.assertEqual(len(set(seals)), len(seals))
        with opened(self.folder / self.parts[0].name) as reader:
            self.assertEqual(reader.readall(), b"a" * 200_000 + b"b" * 200_000)

    def test_belongs_to_the_process_that_began_it(self) -> None:
        def write(file: PartWriter) -> None:
            file.write(b"b" * 200_000)

        def fail(file: PartWriter) -> None:
            with file:
                raise SealedError("WRITER_STATE", "in between")

        file = self.writer()
        file.write(b"a" * 100_000)
        for act in (write, PartWriter.close, fail):
            child = os.fork()
            if child == 0:
                try:
                    act(file)
                except SealedError as error:
                    os._exit(7 if error.code == "WRITER_STATE" else 1)
                finally:
                    os._exit(2)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 7, act)
        file.close()
        with opened(self.folder / self.parts[0].name) as reader:
            self.assertEqual(reader.readall(), b"a" * 100_000)

    def test_numbers_of_a_child_are_not_its_parents(self) -> None:
        self.write(b"")
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                self.write(b"")
                os.write(write, str(self.parts[-1].number).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        self.write(b"")
        theirs, ours = int(os.read(read, 100)), self.parts[-1].number
        self.assertNotEqual(theirs, ours)
        self.assertEqual(ours, (self.parts[0].number + 1) % 2**32)


class ReaderTest(WithFolder):
    def test_holds_a_segment_and_what_was_asked_for(self) -> None:
        length = 32 << 20
        with self.writer() as writer:
            for _ in range(32):
                writer.write(bytes(1 << 20))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        total = 0
        with buffered(opened(self.folder / self.parts[0].name)) as file:
            while piece := file.read(1 << 16):
                total += len(piece)
        self.assertEqual(total, length)
        self.assertLess(tracemalloc.get_traced_memory()[1], 2 << 20)

    def test_is_a_file_for_whoever_reads_text_and_lines(self) -> None:
        lines = [f"line {number}\n" for number in range(20_000)]
        file = self.write("".join(lines).encode())
        with io.TextIOWrapper(buffered(opened(file)), "utf-8") as text:
            self.assertEqual(list(text), lines)

    def test_says_which_part_and_why(self) -> None:
        self.write(pattern(10_000))
        [part] = self.parts
        place = self.folder / part.name
        sealed = place.read_bytes()
        self.write(pattern(10_000))
        other = (self.folder / self.parts[1].name).read_bytes()

        def code() -> str:
            with self.assertRaises(SealedError) as caught:
                open_part(str(self.folder), part, "ab" * 16, lambda: KEY, "input people")
            self.assertIn(f"input people, part {part.name} (a): ", str(caught.exception))
            return caught.exception.code

        def put(data: bytes) -> None:
            place.unlink(missing_ok=True)
            place.write_bytes(data)

        for data, wanted in [
            (other, "PART_FOREIGN"),
            (sealed[:-1], "PART_CHANGED"),
            (sealed + b"\0", "PART_CHANGED"),
            (sealed[:-1] + bytes([sealed[-1] ^ 1]), "TAG"),
        ]:
            put(data)
            self.assertEqual(code(), wanted)
        place.unlink()
        self.assertEqual(code(), "PART_MISSING")
        for make in (
            lambda: os.symlink(self.folder / self.parts[1].name, place),
            lambda: os.mkfifo(place),
            lambda: os.mkdir(place),
        ):
            make()
            self.assertEqual(code(), "PART_MISSING")
            os.rename(place, self.folder / f"aside-{os.urandom(4).hex()}")
        # The same key, the same fixed part, sealed once more: authentic, and not what is meant.
        put(sealed)
        changed = Part(**{**part.__dict__, "last_tag": "0" * 32})
        with self.assertRaisesRegex(SealedError, "PART_CHANGED"):
            open_part(str(self.folder), changed, "ab" * 16, lambda: KEY, "input people")
        with self.assertRaisesRegex(SealedError, "PART_FOREIGN"):
            open_part(str(self.folder), part, "cd" * 16, lambda: KEY, "input people")

    def test_errors_are_sent_between_processes(self) -> None:
        error = pickle.loads(pickle.dumps(SealedError("TAG", "x")))
        self.assertEqual((error.code, str(error)), ("TAG", "x [TAG]"))


class PathsTest(unittest.TestCase):
    def test_lead_nowhere_else(self) -> None:
        for path in ["a", "a/b c/ü.csv", "-", "x" * 255, "...", "a/..b"]:
            self.assertTrue(is_path(path), path)
        for path in [
            *["", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\\b", "a\0", "a\n", "a\x7f"],
            *["\ud800", "x" * 256, "/".join(["x" * 200] * 6)],
        ]:
            self.assertFalse(is_path(path), path)


def _properties() -> Any:
    """Random reads and writes, where Hypothesis is there."""
    try:
        from hypothesis import HealthCheck, given, settings
        from hypothesis import strategies as st
    except ImportError:
        return None
    examples = 500 if THOROUGH else 40
    thorough = settings(
        max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    seeks = st.tuples(st.just("seek"), st.integers(-1500, 1500), st.sampled_from([0, 1, 2]))
    reads = st.tuples(st.just("read"), st.integers(-1, 700), st.just(0))
    intos = st.tuples(st.just("readinto"), st.integers(0, 700), st.just(0))

    class PropertiesTest(WithFolder):
        @thorough
        @given(
            st.sampled_from([file["name"] for file in EXPECT["files"]]),
            st.lists(st.one_of(seeks, reads, intos), max_size=30),
            st.booleans(),
        )
        def test_reads_as_any_file_does(self, name: str, acts: Any, with_buffer: bool) -> None:
            reader = opened(VECTORS / "sealed" / name)
            plain = self.folder / "plain"
            plain.write_bytes(pattern(reader.size))
            like = open(plain, "rb", buffering=-1 if with_buffer else 0)
            with buffered(reader) if with_buffer else reader as file, like:
                for act, number, whence in acts:
                    self.assertEqual(_done(file, act, number, whence), _done(like, act, number, whence))
                    self.assertEqual(file.tell(), like.tell())

        @thorough
        @given(st.lists(st.integers(0, 150_000), max_size=6))
        def test_writes_pieces_of_any_size(self, sizes: List[int]) -> None:
            plaintext = pattern(sum(sizes))
            start = 0
            with self.writer() as file:
                for size in sizes:
                    file.write(memoryview(plaintext)[start : start + size])
                    start += size
            with opened(self.folder / self.parts[-1].name) as reader:
                self.assertEqual(reader.readall(), plaintext)

    return PropertiesTest


def _done(file: Any, act: str, number: int, whence: int) -> Any:
    if act == "read":
        return file.read(number)
    if act == "readinto":
        into = bytearray(number)
        count = file.readinto(into)
        return count, bytes(into)
    try:
        return file.seek(number, whence)
    except (OSError, ValueError):
        return "refused"


PropertiesTest = _properties()
if PropertiesTest is None:
    del PropertiesTest

if __name__ == "__main__":
    unittest.main()
