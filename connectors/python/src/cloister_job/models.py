"""Models of scikit-learn, and whatever else joblib takes, from and to the datasets of a job.

Loading a model runs what it says: a pickle is a program. So :func:`load` takes a dataset of the job and
nothing else. What it reads is authentic, of the version that the key service named; whoever sealed that
dataset decides what runs.

>>> from cloister_job import Job
>>> from cloister_job.models import dump, load
>>> job = Job()  # doctest: +SKIP
>>> dump(model, job.output("model"), "model.joblib")  # doctest: +SKIP
>>> load(job.input("model"), "model.joblib").predict(rows)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any, Optional, Union

import joblib

from .datasets import Dataset, Output, Transaction


def dump(model: object, output: Union[Output, Transaction], path: str, compress: int = 0) -> None:
    """Writes a model as a file of an output.

    :param compress: joblib's level, 0 to 9.
    """
    with output.create(path) as file:
        joblib.dump(model, file, compress=compress)


def load(dataset: Dataset, path: Optional[str] = None) -> Any:
    """Loads a model from a file of a dataset, the only one unless told. The whole file is verified before
    the first of its instructions runs."""
    if not isinstance(dataset, Dataset):
        raise TypeError(
            f"wanted a dataset of the job, seen {type(dataset).__name__}: a model is a program, and is"
            " loaded from what is verified alone"
        )
    with dataset.open(path) as file:
        while file.read(1 << 20):
            pass
        file.seek(0)
        return joblib.load(file)
