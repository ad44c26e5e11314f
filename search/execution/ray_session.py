"""A Ray session: started quietly for one study, and removed with everything that it wrote."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
from collections.abc import Iterator
from typing import Any

from search.execution.ray_folder import ray_folder
from search.execution.ray_patches import count_each_loss_once, servers_in_own_session, servers_on_loopback
from search.resources import cluster
from search.resources.authentication import own_token
from search.resources.workers import Workers
from search.run_folder import ROOT


def quiet() -> None:
    """Silence Ray's loggers; what it prints otherwise depends on search/resources/environment.py."""
    for name in ("ray", "ray.tune", "ray.train", "ray.air", "ray._private"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


quiet()


@contextlib.contextmanager
def running(workers: Workers, corpus_bytes: int, address: str | None = None) -> Iterator[None]:
    """A private Ray instance, shut down after the block, or the cluster at `address`, left after it.

    If the calling program has started Ray itself, that instance is used and left running.

    Raises:
        UserError: there is no cluster at `address`, or it cannot be used; see `cluster.join`.
    """
    # With a searcher that is not Ray's own, Ray starts workers one after the other by default. Ours never
    # proposes more trials than there are workers.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers.count)
    with count_each_loss_once(), _ray(workers, corpus_bytes, address):
        try:
            yield
        finally:
            # What Ray Tune has left in circles: if another thread collected it after Ray's end, Ray would end
            # the process ("The core worker has already been shutdown").
            gc.collect()


@contextlib.contextmanager
def _ray(workers: Workers, corpus_bytes: int, address: str | None) -> Iterator[None]:
    import ray

    if ray.is_initialized():
        yield
        return
    if address:
        with cluster.joined(address):
            quiet()
            yield
        return
    _let_workers_import()
    with ray_folder() as folder, own_token():
        try:
            with servers_in_own_session(), servers_on_loopback():
                ray.init(
                    address="local",
                    num_cpus=workers.count * workers.cpus,
                    num_gpus=workers.gpu_total,
                    object_store_memory=max(100_000_000, 2 * corpus_bytes + 50_000_000),
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    _temp_dir=folder,
                    _system_config=_preloading(workers),
                )
            quiet()
            yield
        finally:
            ray.shutdown()


def _preloading(workers: Workers) -> dict[str, Any]:
    """Ray's settings with which its first processes import what a trial needs, before there is a trial.

    Ray starts a process for every core at once. They are the workers where a trial has one core; where it has
    more, most of them stay idle, and should not hold PyTorch in memory.
    """
    return {"preload_python_modules": [cluster.WORKER]} if workers.cpus == 1 else {}


def _let_workers_import() -> None:
    """Let Ray's workers import this project's packages, wherever they are started from."""
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
