"""A child as a trial: no repetition of another, continued by a worker, with a score that is traced back."""

from pathlib import Path

from optuna.trial import TrialState

from rigsl.training.trainer import Training
from search.execution.trainable import TrialWorker, WorkerOptions
from search.record import lineage
from search.record.learning_curve import METRIC, read_curve
from search.run_folder import CONFIG as CONFIG_FILE
from search.run_folder import MODEL, SNAPSHOTS
from tests.search.schedulers.toy_population import CONFIG, ToyStudy, new_study


def test_a_child_is_no_repetition_of_a_trial_with_its_values(toy: ToyStudy) -> None:
    attributes = {"parent": 1, "parent_epoch": 2, "replaces": 3}
    toy.study.enqueue_trial(toy.study.trials[0].params, user_attrs=attributes)
    given = toy.start()
    assert given["parent"] == (1, 2)
    assert toy.study.trials[given["number"]].state == TrialState.RUNNING


def test_a_fresh_proposal_with_the_values_of_a_child_is_no_repetition_of_it(toy: ToyStudy) -> None:
    toy.report(3, 2, 0.1)
    child = toy.start()
    toy.study.enqueue_trial(toy.study.trials[child["number"]].params)
    fresh = toy.start()
    assert fresh == {"number": 5, "config": child["config"]}


def test_a_worker_continues_from_the_parents_snapshot(corpus, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("search.execution.trainable.SAVING_SHARE", 0)  # save after every epoch, however short
    worker = TrialWorker.__new__(TrialWorker)  # Ray's own constructor wants a cluster; it only calls setup
    options = WorkerOptions(trials=tmp_path, device="cpu", threads=1, snapshot_every=2)
    first = {"number": 0, "config": CONFIG.to_dict()}
    worker.setup(first, corpus, options)
    parent = [worker.step() for _ in range(6)]
    names = sorted(path.name for path in (tmp_path / "0000").glob(SNAPSHOTS))
    assert names == ["state-0002.pt", "state-0004.pt"], "nothing follows the last epoch"
    changed = CONFIG.replace(lr=1e-3, tau=0.6)
    child = {"number": 1, "config": changed.to_dict(), "parent": (0, 4)}
    worker.reset_config(child)
    reports = [worker.step()]
    assert (tmp_path / "0001" / MODEL / "model.safetensors").is_file()
    reports += [worker.step() for _ in range(5)]
    assert [report["epoch"] for report in reports] == [1, 2, 3, 4, 5, 6]
    assert [report["done"] for report in reports] == [False] * 5 + [True]
    assert [report[METRIC] for report in reports[:4]] == [report[METRIC] for report in parent[:4]]
    own = Training.load(tmp_path / "0000" / "state-0004.pt", corpus, config=changed)
    own.step()
    assert own.step().best_weighted_f1 == reports[-1][METRIC]
    assert reports[3]["seconds"] == 0 < reports[4]["seconds"]
    assert [line["epoch"] for line in read_curve(tmp_path / "0001")] == [1, 2, 3, 4, 5, 6]
    worker.reset_config(child)
    assert worker.step()["epoch"] == 6, "its own state is there, the parent's is no longer needed"


def test_a_score_is_traced_to_the_stages_that_led_to_it(tmp_path: Path) -> None:
    study = new_study()
    configs = [CONFIG, CONFIG.replace(lr=1e-3), CONFIG.replace(lr=1e-4)]
    for number, config in enumerate(configs):
        attributes = {"parent": number - 1, "parent_epoch": 2 * number, "replaces": 9} if number else {}
        study.enqueue_trial({}, user_attrs=attributes)
        study.ask()
        (tmp_path / f"{number:04d}").mkdir()
        (tmp_path / f"{number:04d}" / CONFIG_FILE).write_text(config.to_toml(), encoding="utf-8")
    last = study.trials[2]
    for best_epoch, expected in (
        (6, [(0, 2), (1, 4), (2, 6)]),
        (5, [(0, 2), (1, 4), (2, 6)]),
        (4, [(0, 2), (1, 4)]),
        (1, [(0, 2)]),
    ):
        last.user_attrs = last.user_attrs | {"best_epoch": best_epoch, "epochs": 6}
        stages = lineage.stages(study, tmp_path, last)
        assert [(stage.number, stage.until) for stage in stages] == expected
        assert [stage.config for stage in stages] == configs[: len(expected)]
