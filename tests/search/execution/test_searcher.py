"""The searcher writes to the record how every trial really ended."""

import itertools
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from rigsl.config import RIGSLConfig
from rigsl.errors import UserError
from search.execution.searcher import StudySearcher
from search.record import learning_curve, record
from search.record.snapshot import StudySnapshot
from search.record.trial_report import FAILED, TrialReport
from search.samplers.registry import SAMPLERS
from search.space.budget import Budget
from search.space.space import Space, read_space


def searcher(
    study: optuna.Study, space: Space, *, sampler: str = "tpe", workers: int = 1, **budget
) -> StudySearcher:
    return StudySearcher(
        study,
        space,
        sampler=sampler,
        seed=3,
        budget=Budget(**(budget or {"trials": 50})),
        workers=workers,
        overrides={},
    )


def new_study() -> optuna.Study:
    return optuna.create_study(direction="maximize")


def report(epoch: int, best: float, ended: str = "") -> dict:
    """What Ray hands to the searcher after an epoch."""
    return TrialReport(
        epoch=epoch,
        score=best,
        epochs=epoch,
        seconds=1.5,
        best_epoch=1,
        accuracy=0.4,
        macro_f1=0.2,
        metrics={"train_loss": 1.0},
        ended=ended,
    ).to_ray()


def failure(reason: str) -> dict:
    """What Ray hands to the searcher when a trial has failed."""
    return TrialReport(ended=FAILED, reason=reason).to_ray()


class EventRecorder:
    """A listener that keeps all events."""

    def __init__(self) -> None:
        self.events: list[tuple] = []
        self.snapshots: list[StudySnapshot] = []

    def started(self, trial, config, resumed) -> None:
        self.events.append(("started", trial.number, resumed))

    def epoch(self, number, report) -> None:
        self.events.append(("epoch", number, report.epoch, report.metrics["train_loss"]))

    def finished(self, trial, snapshot) -> None:
        self.events.append(("finished", trial.number, trial.state.name))
        self.snapshots.append(snapshot)


def test_the_start_points_come_first_and_the_config_is_complete(space: Space) -> None:
    asked = searcher(new_study(), space).suggest("a")
    assert asked["number"] == 0
    assert asked["config"] == space.config(space.starts[0], 3).to_dict()


def test_what_an_epoch_takes_is_estimated_before_it_runs(space: Space) -> None:
    study = new_study()
    one = searcher(study, space)
    one.suggest("a")
    assert record.ESTIMATE not in study.trials[0].user_attrs
    one.on_trial_complete("a", report(1, 0.1, "by itself"))
    one.seconds = lambda config: config.batch_size / 2
    given = one.suggest("b")
    assert study.trials[1].user_attrs[record.ESTIMATE] == given["config"]["batch_size"] / 2


def test_a_trial_that_ended_by_itself_is_complete_with_its_best_score(space: Space) -> None:
    study = new_study()
    asked = searcher(study, space)
    recorder = EventRecorder()
    asked.listeners.append(recorder)
    asked.suggest("a")
    asked.on_trial_result("a", report(1, 0.3))
    asked.on_trial_result("a", report(2, 0.5))
    asked.on_trial_complete("a", report(3, 0.5, "by itself"))
    trial = study.trials[0]
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)
    assert trial.intermediate_values == {1: 0.3, 2: 0.5, 3: 0.5}
    assert {"epochs": 3, "accuracy": 0.4}.items() <= trial.user_attrs.items()
    assert [event[0] for event in recorder.events] == ["started", "epoch", "epoch", "epoch", "finished"]


def test_a_trial_that_the_scheduler_stopped_is_pruned_with_all_its_scores(space: Space) -> None:
    study = new_study()
    asked = searcher(study, space)
    asked.suggest("a")
    asked.on_trial_result("a", report(1, 0.6))
    asked.on_trial_complete("a", report(2, 0.6) | {"done": True})
    trial = study.trials[0]
    assert trial.state == TrialState.PRUNED
    assert trial.intermediate_values == {1: 0.6, 2: 0.6}
    assert "epoch 2" in trial.user_attrs[record.REASON]


@pytest.mark.parametrize(
    ("result", "error", "reason"),
    [
        (failure("diverged: the loss is not finite"), False, "diverged"),
        (report(1, float("nan"), "by itself"), False, "not a number"),
        (None, True, "worker lost"),
    ],
)
def test_a_broken_trial_is_failed_with_its_reason(space: Space, result, error, reason) -> None:
    study = new_study()
    asked = searcher(study, space)
    asked.suggest("a")
    asked.on_trial_complete("a", result, error)
    assert study.trials[0].state == TrialState.FAIL
    assert reason in study.trials[0].user_attrs[record.REASON]
    assert asked.suggest("b")["number"] == 1


def test_a_worker_that_said_why_it_ends_gives_the_reason_of_the_failure(space: Space) -> None:
    study = new_study()
    asked = searcher(study, space, workers=2)
    reason = "crashed: RuntimeError: CUDA error: device-side assert triggered"
    for name in ("a", "b"):
        asked.suggest(name)
        asked.on_trial_result(name, report(1, 0.2))
        asked.on_trial_result(name, TrialReport(epochs=1, reason=reason).to_ray())
    asked.on_trial_complete("a", None, error=True)
    asked.on_trial_result("b", report(2, 0.3))  # in the next worker, which is then killed
    asked.on_trial_complete("b", None, error=True)
    first, second = study.trials
    assert first.user_attrs[record.REASON] == reason
    assert first.intermediate_values == {1: 0.2}
    assert second.user_attrs[record.REASON].startswith("worker lost twice")


def test_no_more_trials_than_workers_and_than_the_budget(space: Space) -> None:
    asked = searcher(new_study(), space, workers=2, trials=3)
    assert asked.suggest("a")
    assert asked.suggest("b")
    assert asked.suggest("c") is None
    asked.on_trial_complete("a", report(1, 0.1, "by itself"))
    assert asked.suggest("c")
    asked.on_trial_complete("b", report(1, 0.1, "by itself"))
    assert asked.suggest("d") == asked.FINISHED


def test_a_known_configuration_is_told_and_not_trained_again(space: Space) -> None:
    study = new_study()
    asked = searcher(study, space)
    asked.suggest("a")
    asked.on_trial_complete("a", report(1, 0.42, "by itself"))
    study.enqueue_trial(space.starts[0])
    assert asked.suggest("b")["number"] == 2
    twin = study.trials[1]
    assert (twin.state, twin.value) == (TrialState.COMPLETE, 0.42)
    assert "trial 0" in twin.user_attrs[record.NOT_RUN]
    assert record.counts(study) == {"complete": 1, "pruned": 0, "failed": 0, "running": 1}


def test_values_that_do_not_go_together_are_not_run(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    study = new_study()
    asked = searcher(study, space)
    whole = Space.config

    def refuse_gumbel(self: Space, params: dict, seed: int, **overrides) -> RIGSLConfig:
        if params["use_gumbel"]:
            raise UserError("use_gumbel does not go with it")
        return whole(self, params, seed, **overrides)

    monkeypatch.setattr(Space, "config", refuse_gumbel)
    given = asked.suggest("a")
    assert given["config"]["use_gumbel"] is False
    assert study.trials[0].state == TrialState.FAIL
    assert "does not go with it" in study.trials[0].user_attrs[record.NOT_RUN]
    assert [trial.number for trial in record.begun(study)] == [given["number"]]


def test_an_exhausted_space_ends_the_search(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text(
        '[study]\ndataset="MELD"\nfeatures="open"\n[space.num_L]\ntype="choice"\nvalues=[1, 2]\n',
        encoding="utf-8",
    )
    asked = searcher(new_study(), read_space(path), sampler="random")
    for name in "ab":
        assert asked.suggest(name)
        asked.on_trial_complete(name, report(1, 0.1, "by itself"))
    assert asked.suggest("c") == asked.FINISHED
    assert asked.space_exhausted


def test_interrupted_trials_come_first_under_their_own_number(space: Space) -> None:
    study = new_study()
    first = searcher(study, space, workers=2)
    before = [first.suggest("a"), first.suggest("b")]
    first.on_trial_result("a", report(1, 0.3))
    second = searcher(study, space, workers=2)
    recorder = EventRecorder()
    second.listeners.append(recorder)
    assert [second.suggest("x"), second.suggest("y")] == before
    second.on_trial_result("x", report(1, 0.3))  # reported again by the trial's own state
    second.on_trial_result("x", report(2, 0.4))
    assert recorder.events == [("started", 0, True), ("started", 1, True), ("epoch", 0, 2, 1.0)]
    assert study.trials[0].intermediate_values == {1: 0.3, 2: 0.4}
    assert len(study.trials) == 2


@pytest.mark.parametrize("decided", [False, True])
def test_a_proposal_that_a_kill_cuts_off_is_checked_as_any_other(space: Space, decided: bool) -> None:
    study = new_study()
    first = searcher(study, space, workers=2)
    first.suggest("a")
    first.on_trial_complete("a", report(1, 0.42, "by itself"))
    study.enqueue_trial(space.starts[0])
    twin = study.ask()
    if decided:
        twin.set_user_attr(record.NOT_RUN, "same configuration as trial 0")
    second = searcher(study, space, workers=2, trials=2)
    assert second.suggest("x")["number"] == 2
    assert second.suggest("y") == second.FINISHED
    assert (study.trials[1].state, study.trials[1].value) == (TrialState.COMPLETE, 0.42)
    assert study.trials[1].user_attrs[record.NOT_RUN] == "same configuration as trial 0"


def test_a_proposal_that_a_kill_cuts_off_may_need_too_much_memory(space: Space) -> None:
    study = new_study()
    study.ask()
    asked = searcher(study, space)
    asked.excess = lambda config: 0.5
    asked.suggest("a")
    assert study.trials[0].state == TrialState.PRUNED
    assert "more memory" in study.trials[0].user_attrs[record.NOT_RUN]


def test_the_end_of_a_study_also_ends_what_an_earlier_process_left(space: Space, tmp_path: Path) -> None:
    study = new_study()
    first = searcher(study, space, workers=3)
    first.suggest("a")
    first.suggest("b")
    first.on_trial_result("a", report(1, 0.3))
    study.ask()
    (tmp_path / "0000").mkdir()
    lines = [
        {
            "epoch": epoch, "best_epoch": epoch, "epoch_seconds": 2.0, "best_weighted_f1": 0.2 + epoch / 10,
            "val_accuracy": 0.4, "val_macro_f1": 0.2,
        }
        for epoch in (1, 2)
    ]  # fmt: skip
    second = searcher(study, space)
    second.trials = tmp_path
    recorder = EventRecorder()
    second.listeners.append(recorder)
    lines[1]["train_loss"] = 1.0
    learning_curve.write_curve(tmp_path / "0000", lines)
    second.end_running("time budget used")
    begun, unborn, proposal = study.trials
    assert (begun.state, begun.intermediate_values) == (TrialState.PRUNED, {1: 0.3, 2: 0.4})
    assert begun.user_attrs[record.REASON] == unborn.user_attrs[record.REASON] == "time budget used"
    assert {"best_epoch": 2, "epochs": 2, "seconds": 4.0}.items() <= begun.user_attrs.items()
    assert unborn.state == TrialState.PRUNED
    assert proposal.state == TrialState.FAIL
    assert [trial.number for trial in record.begun(study)] == [0, 1]
    assert [event[0] for event in recorder.events] == ["epoch", "finished", "finished"]


def test_trials_cut_off_by_the_end_are_pruned_with_the_reason(space: Space) -> None:
    study = new_study()
    asked = searcher(study, space)
    asked.suggest("a")
    asked.on_trial_result("a", report(1, 0.3))
    asked.end_running("time budget used")
    assert study.trials[0].state == TrialState.PRUNED
    assert study.trials[0].user_attrs[record.REASON] == "time budget used"


def test_a_trial_that_reached_its_last_epoch_is_complete_also_when_the_study_ends(space: Space) -> None:
    study = new_study()
    asked = searcher(study, space)
    last = asked.suggest("a")["config"]["epochs"]
    for epoch, best in enumerate([0.2] * (last - 2) + [0.5, 0.5], start=1):
        asked.on_trial_result("a", report(epoch, best))
    asked.end_running("time budget used")
    trial = study.trials[0]
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.5)
    assert record.REASON not in trial.user_attrs


def test_what_a_worker_finished_after_its_last_report_counts_as_well(space: Space, tmp_path: Path) -> None:
    study = new_study()
    asked = searcher(study, space)
    asked.trials = tmp_path
    given = asked.suggest("a")
    asked.on_trial_result("a", report(1, 0.3))
    folder = tmp_path / f"{given['number']:04d}"
    folder.mkdir()
    for epoch in range(1, given["config"]["epochs"] + 1):
        score = {"best_weighted_f1": 0.3 + epoch / 10, "val_accuracy": 0.4, "val_macro_f1": 0.2}
        learning_curve.append_epoch(
            folder, score | {"epoch": epoch, "best_epoch": epoch, "epoch_seconds": 1.0}
        )
    asked.end_running("time budget used")
    trial = study.trials[0]
    assert (trial.state, trial.value) == (TrialState.COMPLETE, 0.3 + given["config"]["epochs"] / 10)
    assert trial.user_attrs["epochs"] == given["config"]["epochs"]


def test_a_trial_that_is_stopped_at_its_last_epoch_is_complete(space: Space) -> None:
    study = new_study()
    asked = searcher(study, space)
    last = asked.suggest("a")["config"]["epochs"]
    asked.on_trial_complete("a", report(last, 0.4) | {"done": True})
    assert (study.trials[0].state, study.trials[0].value) == (TrialState.COMPLETE, 0.4)
    assert record.REASON not in study.trials[0].user_attrs
    asked.suggest("b")
    asked.on_trial_complete("b", report(last - 1, 0.4) | {"done": True})
    assert study.trials[1].state == TrialState.PRUNED


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_resumed_search_proposes_what_it_would_have_proposed(space: Space, sampler: str) -> None:
    def proposals(restart_after: int | None) -> list[dict]:
        study, found = new_study(), []
        asked = searcher(study, space, sampler=sampler)
        for index in range(14):
            if index == restart_after:
                asked = searcher(study, space, sampler=sampler)
            found.append(asked.suggest(str(index))["config"])
            asked.on_trial_complete(str(index), report(1, 1 / (2 + index % 5), "by itself"))
        return found

    whole = proposals(None)
    assert proposals(7) == whole
    assert all(one != other for one, other in itertools.combinations(whole, 2))


@pytest.mark.parametrize(
    "last", [b'{"op_code": 4, "work', b'{"op_code": 4, \0\0\0\0\n', b"\0\0\0\0\n", b"\n"]
)
def test_a_journal_with_half_a_line_is_read_and_written_on(tmp_path: Path, last: bytes) -> None:
    """Of a line that a power cut has hit, the end can be on the disk, and zeros before it."""
    study = record.open_record(tmp_path, "s")
    study.tell(study.ask(), 0.5)
    with (tmp_path / record.JOURNAL).open("ab") as file:
        file.write(last)
    (tmp_path / (record.JOURNAL + ".lock")).symlink_to(tmp_path / record.JOURNAL)
    study = record.open_record(tmp_path, "s")
    study.tell(study.ask(), 0.6)
    assert [trial.value for trial in record.open_record(tmp_path, "s").trials] == [0.5, 0.6]


def test_the_winner_is_the_best_score_and_of_equals_the_complete_one(space: Space) -> None:
    study = new_study()
    asked = searcher(study, space)
    for name, result in (
        ("a", report(2, 0.5)),
        ("b", report(3, 0.5, "by itself")),
        ("c", report(1, 0.4, "by itself")),
    ):
        asked.suggest(name)
        asked.on_trial_complete(name, result)
    assert record.winner(study).number == 1
    asked.suggest("d")
    asked.on_trial_result("d", report(1, 0.6))
    asked.end_running("the end of the study")
    assert record.winner(study).number == 3
    asked.suggest("e")
    asked.on_trial_complete("e", failure("diverged"))
    assert record.winner(study).number == 3
