"""Data frames of pandas from and to the datasets of a job.

>>> from cloister_job import Job
>>> from cloister_job.frames import read_csv, write_parquet
>>> job = Job()  # doctest: +SKIP
>>> people = read_csv(job.input("people"), "people.csv")  # doctest: +SKIP
>>> write_parquet(people, job.output("result"), "people.parquet")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any, Optional, Sequence, Union

import pandas

from .datasets import Dataset, Output, Transaction


def read_csv(dataset: Dataset, path: Optional[str] = None, **options: Any) -> pandas.DataFrame:
    """Reads one file, or all of the dataset's one after the other.

    :param options: of ``pandas.read_csv``. For a frame at a time give it ``dataset.open(path)`` yourself.
    """
    for option in ("chunksize", "iterator"):
        if options.get(option):
            raise ValueError(f"{option}: give pandas.read_csv the dataset's open file yourself")
    frames = []
    for each in dataset.paths if path is None else [path]:
        with dataset.open(each) as file:
            frames.append(pandas.read_csv(file, **options))
    return frames[0] if len(frames) == 1 else pandas.concat(frames, ignore_index=True)


def read_parquet(
    dataset: Dataset,
    path: Optional[str] = None,
    columns: Optional[Sequence[str]] = None,
    **options: Any,
) -> pandas.DataFrame:
    """Reads a file or a folder of the dataset, all of it unless told; segments that no wanted column or
    row group is in stay closed.

    :param options: of ``pyarrow.parquet.read_table``, ``filters`` among them.
    """
    import pyarrow.fs as fs
    import pyarrow.parquet as pq

    from .arrow import SealedHandler

    place = dataset.folder if path is None else f"{dataset.folder}/{path}"
    files = fs.PyFileSystem(SealedHandler([dataset]))
    return pq.read_table(place, columns=columns, filesystem=files, **options).to_pandas()


def write_csv(
    frame: pandas.DataFrame, output: Union[Output, Transaction], path: str, **options: Any
) -> None:
    """Writes a frame as a file of an output. :param options: of ``DataFrame.to_csv``."""
    with output.create(path) as file:
        frame.to_csv(file, **options)


def write_parquet(
    frame: pandas.DataFrame, output: Union[Output, Transaction], path: str, **options: Any
) -> None:
    """Writes a frame as a file of an output. :param options: of ``DataFrame.to_parquet``."""
    with output.create(path) as file:
        frame.to_parquet(file, engine="pyarrow", **options)
