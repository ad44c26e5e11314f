"""A Ray session: started quietly for one study, and removed with everything that it wrote.

A private Ray can be started before the study begins, as soon as there is a plan: then its workers import what
a trial needs while the driver imports Ray Tune. So this module imports neither that nor PyTorch.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from rigsl.errors import UserError, first_line
from rigsl.files import is_storage_error
from search.execution.ray_folder import ray_folder
from search.execution.ray_patches import (
    count_each_loss_once,
    keep_signals,
    no_handlers_in_c,
    servers_in_own_session,
    servers_on_loopback,
)
from search.execution.ray_processes import (
    has_runtime_environment,
    needed_processes,
    trials_in_first_processes,
)
from search.execution.signals import SignalWatch
from search.resources import cluster
from search.resources.authentication import own_token
from search.resources.workers import Workers
from search.run_folder import ROOT

#: What a worker imports when it starts, before there is a trial.
PRELOADED = (cluster.WORKER,)


def quiet() -> None:
    """Silence Ray's loggers; what it prints otherwise depends on search/resources/environment.py."""
    for name in ("ray", "ray.tune", "ray.train", "ray.air", "ray._private"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


quiet()


@dataclass
class EarlyRay:
    """A Ray that was started before its study."""

    end: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)  #: ends it
    private: bool = False  #: whether there is one; not for a cluster, nor where the calling program has one
    signals: SignalWatch = field(default_factory=SignalWatch)  #: whether the user wants to stop already


@contextlib.contextmanager
def started_early(workers: Workers, corpus_bytes: int, address: str | None = None) -> Iterator[EarlyRay]:
    """A private Ray that `running` will take over; the end of the block shuts it down if nobody has.

    A signal ends nothing before the block looks for it.

    Raises:
        UserError: it cannot be started, or there is no place for its files.
    """
    early = EarlyRay()
    with early.signals, early.end:
        if address is None:
            with keep_signals(early.signals.take_back):
                early.private = early.end.enter_context(_ray(workers, corpus_bytes, None))
            early.signals.take_back()
        yield early


@contextlib.contextmanager
def running(
    workers: Workers, corpus_bytes: int, address: str | None = None, early: EarlyRay | None = None
) -> Iterator[None]:
    """A private Ray instance, shut down after the block, or the cluster at `address`, left after it.

    If the calling program has started Ray itself, that instance is used and left running.

    Args:
        workers: for the trials.
        corpus_bytes: what the workers share.
        address: of a cluster.
        early: its Ray is used, and shut down after the block.

    Raises:
        UserError: Ray cannot be started; or there is no cluster at `address`, or it cannot be used; see
            `cluster.join`.
    """
    # With a searcher that is not Ray's own, Ray starts workers one after the other by default. Ours never
    # proposes more trials than there are workers.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers.count)
    early = early or EarlyRay()
    with early.end.pop_all(), _ray(workers, corpus_bytes, address) as private, count_each_loss_once():
        prepared = (private or early.private) and not has_runtime_environment()
        with trials_in_first_processes() if prepared else contextlib.nullcontext():
            try:
                yield
            finally:
                # What Ray Tune has left in circles: if another thread collected it after Ray's end, Ray would
                # end the process ("The core worker has already been shutdown").
                gc.collect()


@contextlib.contextmanager
def _ray(workers: Workers, corpus_bytes: int, address: str | None) -> Iterator[bool]:
    """Ray; whether it is a private one of this block."""
    import ray

    if ray.is_initialized():
        yield False
        return
    if address:
        with contextlib.ExitStack() as left:
            with no_handlers_in_c():
                left.enter_context(cluster.joined(address))
            quiet()
            yield False
        return
    _let_workers_import()
    with ray_folder() as folder, own_token(), contextlib.ExitStack() as servers:
        try:
            with (
                servers_in_own_session() as started,
                servers_on_loopback(),
                needed_processes(workers.count),
                no_handlers_in_c(),
            ):
                servers.callback(_end, started)
                ray.init(
                    address="local",
                    num_cpus=workers.count * workers.cpus,
                    num_gpus=workers.gpu_total,
                    object_store_memory=max(100_000_000, 2 * corpus_bytes + 50_000_000),
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    _temp_dir=folder,
                    _system_config={"preload_python_modules": [*PRELOADED]},
                )
        except Exception as error:
            if is_storage_error(error):
                raise
            reason = first_line(error, length=200).rstrip(".")
            raise UserError(
                f"Ray cannot be started here ({reason}); see that this machine has memory and disk space "
                "left, and try again"
            ) from error
        else:
            quiet()
            yield True
        finally:
            ray.shutdown()


def _end(servers: Iterable[subprocess.Popen[bytes]]) -> None:
    """End what Ray leaves where it fails, or is stopped, before it knows all of its servers."""
    for server in servers:
        server.kill()
        server.wait()


def _let_workers_import() -> None:
    """Let Ray's workers import this project's packages, wherever they are started from."""
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
