"""A node of a Ray cluster is lost in the middle of a search, and the search goes on without it."""

from collections import Counter
from pathlib import Path

import pytest
import ray

from search.execution.searcher import StudySearcher
from search.plan.new_study import prepare
from search.plan.options import SearchOptions
from search.record import record
from search.record.learning_curve import read_curve
from search.study import run
from tests.helpers.ray_nodes import NODES, RayNodes

pytestmark = pytest.mark.soak


@pytest.fixture
def epochs() -> int:
    return 40


class PowerCut:
    """Kills the node of the first trial that finishes its fifth epoch."""

    def __init__(self, nodes: RayNodes, trials: Path) -> None:
        self.nodes, self.trials = nodes, trials
        self.killed = ""
        #: The first lines of the learning curves of those trials on that node that had saved a state; a state
        #: is written while the next epoch runs.
        self.first_lines: dict[int, dict] = {}
        self.hosts: dict[int, str] = {}

    def result(self, number: int, result: dict) -> None:
        self.hosts[number] = result["node_ip"]
        if not self.killed and result["epoch"] == 5:
            self.killed = result["node_ip"]
            self.nodes.kill(self.killed)
            lost = [number for number, host in self.hosts.items() if host == self.killed]
            curves = {trial: read_curve(self.trials / f"{trial:04d}") for trial in lost}
            self.first_lines = {trial: lines[0] for trial, lines in curves.items() if len(lines) > 2}


def test_a_lost_node_costs_no_trial(nodes: RayNodes, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = prepare(
        SearchOptions(
            trials=6,
            minutes=5,
            workers=3,
            ray_address=nodes.address,
            study="s",
            scheduler="none",
            space=home / "space.toml",
            data_dir=home / "data",
            tracking_uri=f"sqlite:///{home}/mlflow.db",
            finalists=0,
            test_seeds=0,
        )
    )
    assert plan.workers.describe() == "3 on CPU of 2 nodes, 1 thread each"
    cut, hear = PowerCut(nodes, plan.folder / "trials"), StudySearcher.on_trial_result

    def on_trial_result(searcher: StudySearcher, trial_id: str, result: dict) -> None:
        hear(searcher, trial_id, result)
        cut.result(searcher.live[trial_id].trial.number, result)

    monkeypatch.setattr(StudySearcher, "on_trial_result", on_trial_result)
    outcome = run(plan)
    trials = record.begun(record.read_record(plan.folder))
    reasons = [trial.user_attrs.get(record.REASON) for trial in trials]
    assert outcome.counts == {"complete": 6, "pruned": 0, "failed": 0, "running": 0}, (
        outcome.ending,
        reasons,
    )
    (survivor,) = {*NODES} - {cut.killed}
    assert Counter(trial.user_attrs[record.HASH] for trial in trials).most_common(1)[0][1] == 1
    for trial in trials:
        lines = read_curve(plan.folder / "trials" / f"{trial.number:04d}")
        assert [line["epoch"] for line in lines] == sorted(trial.intermediate_values) == list(range(1, 41))
    assert cut.first_lines
    for number, line in cut.first_lines.items():
        assert trials[number].user_attrs["host"].endswith(f"({survivor})")
        # Its time, too, is that of the first attempt: the trial was resumed, not restarted.
        assert read_curve(plan.folder / "trials" / f"{number:04d}")[0] == line
    assert not ray.is_initialized()
