"""The datasets of a job as a file system of PyArrow.

>>> import pyarrow.dataset as ds
>>> from cloister_job import Job
>>> from cloister_job.arrow import filesystem
>>> files = filesystem(Job())  # doctest: +SKIP
>>> ds.dataset("/in/people", filesystem=files, format="parquet").to_table()  # doctest: +SKIP
"""

from __future__ import annotations

import posixpath
from typing import Any, List, NoReturn, Sequence, Set, Tuple

import pyarrow as pa
import pyarrow.fs as fs

from .datasets import Dataset, Input, Output
from .errors import SealedError
from .job import Job
from .part import Part


def filesystem(job: Job) -> Any:
    """A ``pyarrow.fs.FileSystem``: ``/in/NAME`` is an input, ``/out/NAME`` an output. Files of outputs
    are committed when they are closed, and can be read then; nothing is moved, removed or appended to."""
    return fs.PyFileSystem(SealedHandler(job.datasets))


class SealedHandler(fs.FileSystemHandler):  # type: ignore[misc]  # PyArrow has no types.
    """What PyArrow asks of a file system, of the datasets of a job. Which files there are the manifests
    say; nothing outside of the datasets is there."""

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self._datasets = {dataset.folder: dataset for dataset in datasets}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SealedHandler) and self._datasets == other._datasets

    def get_type_name(self) -> str:
        return "cloister"

    def normalize_path(self, path: str) -> str:
        return _normal(path)

    def get_file_info(self, paths: Sequence[str]) -> List[Any]:
        return [self._info(_normal(path)) for path in paths]

    def get_file_info_selector(self, selector: Any) -> List[Any]:
        base = _normal(selector.base_dir)
        dataset, prefix = self._place(base)
        if dataset is None:
            if selector.allow_not_found:
                return []
            raise FileNotFoundError(f"no dataset of the job is at {base}")
        found: List[Any] = []
        folders: Set[str] = set()
        for part in dataset.parts():
            place = f"{dataset.folder}/{part.path}"
            if not place.startswith(f"{base}/"):
                continue
            names = place[len(base) + 1 :].split("/")
            depth = len(names) - 1 if selector.recursive else min(1, len(names) - 1)
            folders.update("/".join([base, *names[:level]]) for level in range(1, depth + 1))
            if selector.recursive or len(names) == 1:
                found.append(self._file_info(dataset, part))
        if not found and not folders and prefix != "" and not selector.allow_not_found:
            raise FileNotFoundError(f"{dataset.label} has nothing at {prefix}")
        return [fs.FileInfo(folder, fs.FileType.Directory) for folder in sorted(folders)] + found

    def open_input_file(self, path: str) -> Any:
        dataset, relative = self._dataset(path)
        return pa.PythonFile(dataset.open_unbuffered(relative), mode="r")

    def open_input_stream(self, path: str) -> Any:
        return self.open_input_file(path)

    def open_output_stream(self, path: str, metadata: Any) -> Any:
        dataset, relative = self._dataset(path)
        if isinstance(dataset, Output):
            return pa.PythonFile(dataset.create(relative), mode="w")
        raise SealedError("PATH", f"write {path}: wanted a path in an output of the job")

    def create_dir(self, path: str, recursive: bool) -> None:
        """Folders are what the paths of files make: there is nothing to do in an output."""
        dataset, _ = self._dataset(path)
        if isinstance(dataset, Input):
            raise SealedError("PATH", f"make folder {path}: wanted a path in an output of the job")

    def delete_dir(self, path: str) -> NoReturn:
        raise _unsupported("delete", path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> NoReturn:
        raise _unsupported("delete", path)

    def delete_root_dir_contents(self) -> NoReturn:
        raise _unsupported("delete", "/")

    def delete_file(self, path: str) -> NoReturn:
        raise _unsupported("delete", path)

    def move(self, src: str, dest: str) -> NoReturn:
        raise _unsupported("move", src)

    def copy_file(self, src: str, dest: str) -> NoReturn:
        raise _unsupported("copy", src)

    def open_append_stream(self, path: str, metadata: Any) -> NoReturn:
        raise _unsupported("append to", path)

    def _info(self, path: str) -> Any:
        dataset, relative = self._place(path)
        if dataset is None:
            is_above = any(folder.startswith(f"{path.rstrip('/')}/") for folder in self._datasets)
            kind = fs.FileType.Directory if is_above else fs.FileType.NotFound
            return fs.FileInfo(path, kind)
        parts = dataset.parts()
        for part in parts:
            if part.path == relative:
                return self._file_info(dataset, part)
        is_folder = relative == "" or any(part.path.startswith(f"{relative}/") for part in parts)
        return fs.FileInfo(path, fs.FileType.Directory if is_folder else fs.FileType.NotFound)

    def _file_info(self, dataset: Dataset, part: Part) -> Any:
        place = f"{dataset.folder}/{part.path}"
        return fs.FileInfo(place, fs.FileType.File, size=dataset.size_of(part))

    def _dataset(self, path: str) -> Tuple[Dataset, str]:
        dataset, relative = self._place(_normal(path))
        if dataset is None:
            raise FileNotFoundError(f"no dataset of the job is at {path}")
        return dataset, relative

    def _place(self, path: str) -> Tuple[Any, str]:
        """The dataset that a path leads into, and the way in it; none where it leads into none."""
        for folder, dataset in self._datasets.items():
            if path == folder:
                return dataset, ""
            if path.startswith(f"{folder}/"):
                return dataset, path[len(folder) + 1 :]
        return None, ""


def _normal(path: str) -> str:
    return posixpath.normpath(f"/{path.lstrip('/')}")


def _unsupported(act: str, path: str) -> NotImplementedError:
    return NotImplementedError(f"{act} {path}: files of a dataset change by a commit alone")
