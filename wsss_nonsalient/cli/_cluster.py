"""The work on images by the workers of a Dask cluster.

Not by way of joblib: its Dask backend never learns of a task whose workers died, and waits for it.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

from ._task import Outcome, Task, Value, WorkersLostError, attempt, in_words, optional_module

_ANSWER = 10.0  # seconds that a scheduler has to answer
_WORKERS = 60.0  # seconds that a cluster has to start its first worker


def check_cluster(address: str) -> None:
    """Check that Dask is installed and that something answers at the address.

    Raises:
        ImportError: Dask's ``distributed`` is not installed.
        OSError: Nothing answers.
        ValueError: It is no address.
    """
    _distributed()
    comm = optional_module("distributed.comm", "--dask")
    try:
        host, port = comm.get_address_host_port(address)
    except ValueError as error:
        raise ValueError(f"--dask: {error}; expected one such as tcp://10.0.0.1:8786") from error
    try:
        socket.create_connection((host, port), _ANSWER).close()
    except OSError as error:
        raise OSError(f"--dask: no scheduler at {address} ({error})") from error


def on_cluster(
    function: Callable[[Task], Value], tasks: Sequence[Task], address: str
) -> Iterator[Outcome[Value]]:
    """Outcomes as they come; an image that kills its workers fails, and the others go on.

    Raises:
        WorkersLostError: The scheduler is gone, or no worker comes.
    """
    distributed = _distributed()
    with _quiet(), distributed.Client(address, set_as_default=False) as client:
        futures = client.map(functools.partial(attempt, function), tasks, pure=False)
        _wait_for_a_worker(client, address)
        waiting = dict(zip(futures, tasks, strict=True))
        del futures
        for future in distributed.as_completed(list(waiting), loop=client.loop):
            task = waiting.pop(future)
            try:
                outcome: Outcome[Value] = future.result()
            except (CancelledError, asyncio.CancelledError) as error:
                raise WorkersLostError(f"--dask: the cluster at {address} is gone") from error
            except Exception as error:
                outcome = Outcome(task.image_id, None, _reason(error))
            yield outcome


def _distributed() -> Any:
    return optional_module("distributed", "--dask")


def _wait_for_a_worker(client: Any, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_WORKERS)
    except _distributed().TimeoutError as error:
        raise WorkersLostError(
            f"--dask: the cluster at {address} has no worker after {_WORKERS:g} s"
        ) from error


def _reason(error: BaseException) -> str:
    if isinstance(error, _distributed().KilledWorker):
        return "its Dask workers died, for lack of memory perhaps; their logs say more"
    return in_words(error)


@contextmanager
def _quiet() -> Generator[None, None, None]:
    """Dask logs tracebacks of a connection that is lost; the error in words is enough."""
    names = [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
