"""Sealed datasets of a job for any Python program, in an instance whose interface is ``keys``.

>>> from cloister_job import Job
>>> job = Job()  # doctest: +SKIP
>>> with job.input("people").open("people.csv") as file:  # doctest: +SKIP
...     text = file.read()
>>> with job.output("result").create("upper.csv") as file:  # doctest: +SKIP
...     file.write(text.upper())

``cloister_job.frames`` is for pandas, ``cloister_job.arrow`` for PyArrow, ``cloister_job.models`` for
models of scikit-learn.
"""

from .datasets import Dataset, Input, Output, Transaction
from .errors import BrokerError, SealedError
from .job import Job
from .part import Part
from .reader import SealedReader
from .writer import PartWriter

__all__ = [
    "BrokerError",
    "Dataset",
    "Input",
    "Job",
    "Output",
    "Part",
    "PartWriter",
    "SealedError",
    "SealedReader",
    "Transaction",
]
