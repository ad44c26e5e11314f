"""Four trials share two GPUs in halves, and go on when workers die."""

import dataclasses
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from search.execution.searcher import StudySearcher
from search.record import record
from search.record.learning_curve import read_curve
from search.resources.workers import Workers
from search.study import run
from tests.helpers.mlflow_contents import mlflow_runs
from tests.helpers.toy_study import toy_plan

pytestmark = pytest.mark.usefixtures("shared_ray")


@pytest.fixture
def epochs() -> int:
    return 40


class Killer:
    """Follows every report of a worker; kills the worker of one trial twice, and one between two trials.

    It waits until all slots are used, first, and at the end until they are used again and as many trials are
    complete, and then interrupts the study.
    """

    def __init__(self, trials: Path, slots: int) -> None:
        self.trials, self.slots = trials, slots
        self.victim = -1
        self.killed: list[int] = []  #: processes
        self.first_lines: list[dict] = []  #: of the victim's curve, at both times
        self.before: dict[int, str] = {}  #: processes and their GPUs until the first was killed
        self.after: dict[int, str] = {}  #: and since the last was
        self.complete = 0  #: trials
        self.live: set[int] = set()  #: trials that have reported an epoch and not ended
        self.max_live = 0

    def heard(self, number: int, result: dict) -> None:
        process = result["pid"]
        self.live.add(number)
        self.max_live = max(self.max_live, len(self.live))
        self._leave_the_cores_to_starting_workers()
        if not self.killed:
            self.before[process] = result["gpu"]
            if len(self.before) == self.slots and 5 <= result["epoch"] <= 30:
                self.victim = number
                self._kill_victim(process)
        elif len(self.killed) == 1:
            if number == self.victim and process not in self.killed:
                self._kill_victim(process)
        elif len(self.killed) == 3:
            self.after[process] = result["gpu"]
            if len(self.after) == self.slots <= self.complete:
                os.kill(os.getpid(), signal.SIGTERM)

    def _leave_the_cores_to_starting_workers(self) -> None:
        """The trials that run would train for nothing meanwhile: their next epoch waits for this process."""
        seen = {0: self.before, 3: self.after}.get(len(self.killed))
        if len(self.killed) == 1 or (seen is not None and len(seen) < self.slots):
            time.sleep(0.05)

    def ended(self, number: int, result: dict | None) -> None:
        self.live.discard(number)
        if result is None:
            return
        self.complete += 1
        if len(self.killed) == 2 and result["pid"] not in self.killed:
            self._kill(result["pid"])

    def get(self, future: object) -> object:
        """`ray.get` for Ray Tune: the second kill looks like one by Ray's memory monitor."""
        import ray

        try:
            return ray.get(future)
        except ray.exceptions.RayActorError:
            if len(self.killed) != 2:
                raise
            raise ray.exceptions.OutOfMemoryError("the node is running low on memory") from None

    def _kill_victim(self, process: int) -> None:
        self.first_lines.append(read_curve(self.trials / f"{self.victim:04d}")[0])
        self._kill(process)

    def _kill(self, process: int) -> None:
        self.killed.append(process)
        os.kill(process, signal.SIGKILL)


def test_half_a_gpu_a_trial_and_a_worker_that_is_lost_twice(
    tracked_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.air.execution._internal import event_manager

    plan = toy_plan(tracked_home, trials=5000, minutes=5, study="s", device="cpu", scheduler="none")
    plan = dataclasses.replace(plan, workers=Workers(4, "cpu", gpus=0.5, gpu_total=2))
    killer, hear = Killer(plan.folder / "trials", 4), StudySearcher.on_trial_result
    end = StudySearcher.on_trial_complete

    def on_trial_result(searcher: StudySearcher, trial_id: str, result: dict) -> None:
        hear(searcher, trial_id, result)
        killer.heard(searcher.live[trial_id].trial.number, result)

    def on_trial_complete(
        searcher: StudySearcher, trial_id: str, result: dict | None = None, error=False
    ) -> None:
        live = searcher.live.get(trial_id)
        end(searcher, trial_id, result, error)
        if live is not None:
            killer.ended(live.trial.number, result)

    monkeypatch.setattr(StudySearcher, "on_trial_result", on_trial_result)
    monkeypatch.setattr(StudySearcher, "on_trial_complete", on_trial_complete)
    monkeypatch.setattr(event_manager, "ray", SimpleNamespace(get=killer.get))
    outcome = run(plan)
    assert outcome.interrupted == signal.SIGTERM
    assert killer.max_live == 4
    assert outcome.counts["complete"] >= 4
    # Four concurrent trials on two GPUs, and again after three workers were lost.
    assert sorted(killer.before.values()) == sorted(killer.after.values()) == ["0", "0", "1", "1"]
    assert len(set(killer.killed)) == 3
    assert not {*killer.killed} & {*killer.after}
    trials = record.begun(record.read_record(plan.folder))
    (failed,) = [trial for trial in trials if trial.state.name == "FAIL"]
    assert failed.number == killer.victim
    assert failed.user_attrs[record.REASON].startswith("worker lost twice")
    assert killer.first_lines[0] == killer.first_lines[1], "it went on from where it was, once"
    assert sorted(failed.intermediate_values) == list(range(1, len(failed.intermediate_values) + 1))
    complete = {str(trial.number): trial for trial in trials if trial.state.name == "COMPLETE"}
    assert complete
    for trial in complete.values():
        lines = read_curve(plan.folder / "trials" / f"{trial.number:04d}")
        assert [line["epoch"] for line in lines] == sorted(trial.intermediate_values) == list(range(1, 41))
    for tags in (trial_run.data.tags for trial_run in mlflow_runs(tracked_home)["trial"]):
        if tags["trial"] in complete:
            assert tags["gpu"] in ("0", "1")
            assert tags["host"].startswith(f"{os.uname().nodename} (")
