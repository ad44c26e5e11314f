"""Independent computations in processes of one thread each, with one progress bar.

One thread each, because the number of threads changes the last bits of a result.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import torch

from rigsl.device import threads
from rigsl.errors import UserError

#: In a process of `in_processes`: takes the steps that are done.
_REPORTS: list[Any] = []


def _start_process(queue: Any) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends at once, without a traceback
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _REPORTS[:] = [queue]


def _end_with_parent() -> None:
    """End this process when the one that started it has been killed, also while it waits for a job."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run(task: Callable[..., Any], job: dict[str, Any]) -> Any:
    return task(**job, on_steps=_REPORTS[0].put)


def in_processes(
    task: Callable[..., Any], jobs: Sequence[dict[str, Any]], processes: int, name: str, steps: int
) -> list[Any]:
    """The results of ``task(**job, on_steps=...)``, in the order of the `jobs`, with a progress bar.

    Args:
        task: calls `on_steps` with the number of steps that are done.
        jobs: its arguments.
        processes: how many there are; 1: this one.
        name: of the work, for the progress bar.
        steps: of all jobs.

    Raises:
        UserError: a process was killed.
    """
    from tqdm.auto import tqdm

    if processes == 1:
        with threads(1), tqdm(total=steps, desc=name, disable=None) as bar:
            return [task(**job, on_steps=bar.update) for job in jobs]
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    pool = ProcessPoolExecutor(
        min(processes, len(jobs)),
        mp_context=context,
        initializer=_start_process,
        initargs=(queue,),
    )
    try:
        with tqdm(total=steps, desc=name, disable=None) as bar:
            futures = [pool.submit(_run, task, job) for job in jobs]
            pending: set[Future[Any]] = set(futures)
            while pending:
                done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()
                while not queue.empty():
                    bar.update(queue.get())
        pool.shutdown()
        return [future.result() for future in futures]
    except BrokenProcessPool:
        raise UserError(
            f"{name}: a process was killed, perhaps for want of memory; the same command goes on"
        ) from None
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        raise
