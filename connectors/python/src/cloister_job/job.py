"""The job that a program is run for."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple, TypeVar, Union

from .broker import Broker
from .datasets import Input, Output
from .errors import BrokerError

_Either = TypeVar("_Either", Input, Output)


class Job:
    """The inputs and outputs of the job that this program is run for, as init's key broker tells them.

    :param socket_path: the broker's, where it is not that of the environment.
    """

    def __init__(self, socket_path: Optional[str] = None) -> None:
        broker = self._broker = Broker(socket_path)
        told = broker.job()
        for name in ("inputs", "outputs"):
            if not isinstance(told[name], list):
                raise BrokerError("PROTOCOL", f"{name}: wanted a list")
        self.inputs: Tuple[Input, ...] = tuple(Input(broker, item) for item in told["inputs"])
        self.outputs: Tuple[Output, ...] = tuple(Output(broker, item) for item in told["outputs"])
        #: In the instance's memory, gone with it.
        self.scratch_folder = str(told["scratchFolder"])

    def close(self) -> None:
        """Ends the connections to the broker that are not in use; the job can be used all the same."""
        self._broker.close()

    def input(self, name: str) -> Input:
        """The input of this name."""
        return _named(self.inputs, name, "UNKNOWN_INPUT")

    def output(self, name: str) -> Output:
        """The output of this name."""
        return _named(self.outputs, name, "UNKNOWN_OUTPUT")

    @property
    def datasets(self) -> Tuple[Union[Input, Output], ...]:
        return (*self.inputs, *self.outputs)


def _named(datasets: Sequence[_Either], name: str, code: str) -> _Either:
    for dataset in datasets:
        if dataset.name == name:
            return dataset
    wanted = ", ".join(dataset.name for dataset in datasets) or "none"
    raise BrokerError(code, f"wanted one of {wanted}; seen {name!r}")
