"""pandas, PyArrow and scikit-learn on the datasets of a job, over a real key broker."""

from __future__ import annotations

import io
import os
import unittest
from pathlib import Path
from typing import Any

import numpy
import pandas
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as fs
import pyarrow.parquet as pq
from sklearn.linear_model import LinearRegression

from cloister_job import Job, SealedError
from cloister_job.arrow import filesystem
from cloister_job.frames import read_csv, read_parquet, write_csv, write_parquet
from cloister_job.models import dump, load

from .test_job import PEOPLE

JOB: Any = Job()
unittest.addModuleCleanup(JOB.close)
FRAME = pandas.DataFrame(
    {"id": range(50_000), "city": [f"city {n % 5}" for n in range(50_000)], "x": numpy.arange(50_000) / 7}
)


class FramesTest(unittest.TestCase):
    def setUp(self) -> None:
        self.people = JOB.input("people")
        self.result = JOB.output("result")

    def test_csv_comes_and_goes(self) -> None:
        plain = pandas.read_csv(io.StringIO(PEOPLE["people.csv"]))
        people = read_csv(self.people, "people.csv")
        pandas.testing.assert_frame_equal(people, plain)
        with self.assertRaises(pandas.errors.EmptyDataError):
            read_csv(self.people)
        write_csv(people, self.result, "frames/people.csv", index=False)
        with self.result.open("frames/people.csv") as file:
            self.assertEqual(file.read().decode(), PEOPLE["people.csv"])
        with self.assertRaisesRegex(ValueError, "chunksize"):
            read_csv(self.people, "people.csv", chunksize=10)
        with self.people.open("people.csv") as file:
            rows = sum(len(chunk) for chunk in pandas.read_csv(file, chunksize=1000))
        self.assertEqual(rows, len(plain))

    def test_parquet_comes_and_goes(self) -> None:
        with self.result.transaction() as parts:
            for number in range(3):
                piece = FRAME.iloc[number * 17_000 : (number + 1) * 17_000]
                write_parquet(piece, parts, f"frames/parquet/{number}.parquet", index=False)
        back = read_parquet(self.result, "frames/parquet")
        pandas.testing.assert_frame_equal(back, FRAME)
        some = read_parquet(
            self.result, "frames/parquet/1.parquet", columns=["x"], filters=[("id", ">=", 30_000)]
        )
        self.assertEqual((list(some.columns), len(some)), (["x"], 4000))

    def test_a_write_that_fails_leaves_nothing(self) -> None:
        nested = pandas.DataFrame({"a": [object()]})
        with self.assertRaises(pa.ArrowInvalid):
            write_parquet(nested, self.result, "frames/never.parquet")
        self.assertNotIn("frames/never.parquet", self.result.paths)

    def test_pyarrow_sees_datasets_as_folders(self) -> None:
        files = filesystem(JOB)
        table = pa.Table.from_pandas(FRAME, preserve_index=False)
        place = f"{self.result.folder}/arrow"
        ds.write_dataset(
            table, place, filesystem=files, format="parquet", partitioning=["city"],
            partitioning_flavor="hive", existing_data_behavior="overwrite_or_ignore",
        )
        dataset = ds.dataset(place, filesystem=files, format="parquet", partitioning="hive")
        found = dataset.to_table(filter=ds.field("city") == "city 3", columns=["id"])
        self.assertEqual(found.num_rows, 10_000)
        self.assertTrue(dataset.to_table(columns=["id", "x"]).sort_by("id").equals(table.select(["id", "x"])))
        infos = files.get_file_info(fs.FileSelector(place))
        self.assertEqual([info.type for info in infos], [fs.FileType.Directory] * 5)
        people = files.get_file_info(f"{self.people.folder}/more/people.csv")
        self.assertEqual((people.type, people.size), (fs.FileType.File, len(PEOPLE["more/people.csv"])))
        csv = ds.dataset(f"{self.people.folder}/more", filesystem=files, format="csv").to_table()
        self.assertEqual(csv.to_pylist(), [{"name": "ada", "age": 36}])
        for missing in ("/etc/passwd", f"{self.people.folder}/never", f"{self.people.folder}2"):
            self.assertEqual(files.get_file_info(missing).type, fs.FileType.NotFound)
            with self.assertRaises((FileNotFoundError, SealedError)):
                files.open_input_file(missing)
        with self.assertRaisesRegex(SealedError, "wanted a path in an output"):
            files.open_output_stream(f"{self.people.folder}/new")
        for act in (
            lambda: files.delete_file(f"{place}/x"),
            lambda: files.move(f"{place}/x", f"{place}/y"),
            lambda: files.delete_dir_contents(place),
        ):
            with self.assertRaisesRegex(NotImplementedError, "by a commit alone"):
                act()

    def test_models_come_and_go(self) -> None:
        rows = FRAME[["id"]].to_numpy()
        model = LinearRegression().fit(rows, FRAME["x"])
        dump(model, self.result, "model.joblib")
        dump(model, self.result, "small.joblib", compress=3)
        for path in ("model.joblib", "small.joblib"):
            again = load(self.result, path)
            self.assertTrue(numpy.array_equal(again.predict(rows), model.predict(rows)))

    def test_a_model_is_loaded_from_what_is_verified_alone(self) -> None:
        for other in ("model.joblib", io.BytesIO(), Path("model.joblib")):
            with self.assertRaisesRegex(TypeError, "wanted a dataset of the job"):
                load(other)  # type: ignore[arg-type]
        with self.result.create("evil.joblib") as file:
            # Instructions that leave a trace, then enough for another segment.
            file.write(b"cos\nsystem\n(S'touch /tmp/cloister-ran'\ntR." + bytes(100_000))
        place = Path(self.result._parts_folder()) / self.result.part("evil.joblib").name
        sealed = place.read_bytes()
        altered = bytearray(sealed)
        altered[80_000] ^= 1
        place.write_bytes(altered)
        try:
            with self.assertRaisesRegex(SealedError, "TAG"):
                load(self.result, "evil.joblib")
        finally:
            place.write_bytes(sealed)
        self.assertFalse(os.path.exists("/tmp/cloister-ran"))

    def test_what_is_altered_is_said_whoever_reads(self) -> None:
        write_parquet(FRAME, self.result, "altered.parquet", index=False)
        write_csv(FRAME, self.result, "altered.csv", index=False)
        folder = Path(self.result._parts_folder())
        for path, read in [
            ("altered.parquet", lambda: read_parquet(self.result, "altered.parquet")),
            ("altered.csv", lambda: read_csv(self.result, "altered.csv")),
            ("altered.csv", lambda: ds.dataset(
                f"{self.result.folder}/altered.csv", filesystem=filesystem(JOB), format="csv").to_table()),
        ]:
            place = folder / self.result.part(path).name
            sealed = place.read_bytes()
            altered = bytearray(sealed)
            altered[4096 + 70_000] ^= 1
            place.write_bytes(altered)
            try:
                with self.assertRaisesRegex(SealedError, f"output result, part .*{path}.*TAG"):
                    read()
            finally:
                place.write_bytes(sealed)


if __name__ == "__main__":
    unittest.main()
