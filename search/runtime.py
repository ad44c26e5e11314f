"""Ray, started quietly for one study and taken down with everything it wrote.

The environment is set before Ray is imported, because Ray reads parts of it at import.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from search import cluster
from search.cluster import PRIVATE, ROOT
from search.machine import Workers

__all__ = ["ROOT", "patient_workers", "quiet", "running"]
_ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # `uv run` would have Ray copy the environment into every worker
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # print nothing of what nodes tell every driver, such as their end
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ray's would end the study and exit with code 0; ours knows better
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # the report of a failure has no score
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # Ray's snapshots are never restored
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "600",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "1000000",
}
#: Seconds for a worker to start (imports, on a slow disk) before its trial takes an idle one.
PATIENCE = 60.0
#: Longest folder name under which Ray's sockets (107 bytes at most) still fit.
_LONGEST = 40


def quiet() -> None:
    """Set what Ray reads from the environment, unless the user did; silence its loggers."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in ("ray", "ray.tune", "ray.train", "ray.air", "ray._private"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


quiet()


@contextlib.contextmanager
def running(workers: Workers, corpus_bytes: int, address: str | None = None) -> Iterator[None]:
    """A Ray instance of this study's own, or the cluster at `address`; down again after the block.

    Where the calling program has started Ray itself, that instance is used and left running.

    Raises:
        UserError: there is no cluster at `address`, or it cannot be used; see `cluster.join`.
    """
    # Ray starts one worker after the other where the searcher is not its own; ours asks for no more than fit.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers.count)
    with _every_loss_is_one(), _ray(workers, corpus_bytes, address):
        yield


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
    folder = _temporary()
    try:
        ray.init(
            address="local",
            num_cpus=workers.count * workers.cpus,
            num_gpus=workers.gpu_total,
            object_store_memory=max(100_000_000, 2 * corpus_bytes + 50_000_000),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            _temp_dir=folder,
        )
        quiet()
        yield
    finally:
        ray.shutdown()
        _remove(folder)


@contextlib.contextmanager
def _every_loss_is_one() -> Iterator[None]:
    """Let Ray Tune see one lost worker wherever one is lost.

    Of a worker that Ray's memory monitor killed it hears by an error that it does not know, and ends the
    whole search: "Caught unexpected exception" (air/execution/_internal/actor_manager.py). A worker that dies
    while it is handed to its next trial counts twice, so that this trial fails at once, and is waited for
    for ever where that trial is to be tried again (tune/execution/tune_controller.py).
    """
    from ray.air.execution._internal.actor_manager import RayActorManager
    from ray.exceptions import RayActorError, RayTaskError
    from ray.tune.execution.tune_controller import TuneController
    from ray.tune.experiment import Trial

    task_failed, actor_failed = RayActorManager._actor_task_failed, TuneController._actor_failed

    def lost(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=str(exception))
        task_failed(manager, tracked_actor_task, exception)

    def lost_between_trials(controller: Any, tracked_actor: Any, exception: Exception) -> None:
        trial = controller._actor_to_trial[tracked_actor]
        if trial in controller._resetting_trials:
            # As of a worker that had begun: the failure of its task, told next, is the one that counts.
            controller._resetting_trials.remove(trial)
            controller._unstage_trial_with_resources(trial)
            controller._set_trial_status(trial, Trial.RUNNING)
        actor_failed(controller, tracked_actor, exception)

    RayActorManager._actor_task_failed = lost
    TuneController._actor_failed = lost_between_trials
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = task_failed
        TuneController._actor_failed = actor_failed


@contextlib.contextmanager
def patient_workers() -> Iterator[None]:
    """Let a starting worker start.

    Where a trial ends while another trial's worker is still starting, Ray gives the idle worker to that other
    trial and throws the starting one away. Short trials then all gather on one worker (measured: one of four
    places was ever used). Inside this block an idle worker goes to the next new trial instead.

    A trial that waits for a place is not starting: with fewer places than before, because a node was lost, it
    gets the next idle worker. So does one whose worker does not come up, after a while.
    """
    from ray.tune.execution.tune_controller import TuneController

    reuse = TuneController._maybe_reuse_cached_actor
    since: dict[Any, float] = {}

    def reuse_unless_starting(controller: Any, trial: Any) -> bool:
        worker = controller._trial_to_actor.get(trial)
        starting = (
            worker is not None
            and trial not in controller._resetting_trials
            and controller._actor_manager.is_actor_started(worker)
        )
        if starting and time.monotonic() - since.setdefault(worker, time.monotonic()) < PATIENCE:
            return False
        return bool(reuse(controller, trial))

    TuneController._maybe_reuse_cached_actor = reuse_unless_starting
    try:
        yield
    finally:
        TuneController._maybe_reuse_cached_actor = reuse


def _let_workers_import() -> None:
    """Ray's workers find this project's packages wherever they are started from."""
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))


def _remove(folder: str) -> None:
    """Ray's processes write their last lines while they go down: try a few times."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not Path(folder).exists():
            return
        time.sleep(0.1)


def _temporary() -> str:
    """A folder for Ray's files, named after this process; those of killed searches are removed."""
    base = Path(tempfile.gettempdir())
    if len(str(base)) > _LONGEST:
        base = Path("/tmp")
    for left in base.glob(f"{PRIVATE}*-*"):
        number = left.name.split("-")[1]
        if number.isdigit() and not psutil.pid_exists(int(number)):
            shutil.rmtree(left, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"{PRIVATE}{os.getpid()}-", dir=base)
