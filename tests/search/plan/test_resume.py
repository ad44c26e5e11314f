"""A study is resumed with a wider space, and a new one starts from the results of another (warm start)."""

import dataclasses
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from rigsl.errors import UserError
from rigsl.files import write_text
from search.execution.searcher import StudySearcher
from search.plan.new_study import prepare
from search.plan.options import SearchOptions
from search.plan.plan import Plan
from search.plan.warm_start import STARTED_FROM, warm_start
from search.record import record
from search.record.learning_curve import METRIC
from search.run_folder import JOURNAL, SPACE, STUDY
from search.space.budget import Budget
from search.space.prior import Prior
from search.study import write_folder
from tests.helpers.toy_study import edited


def options(home: Path, **more) -> SearchOptions:
    return SearchOptions(tracking_uri=f"sqlite:///{home}/mlflow.db", data_dir=home / "data", **more)


def play_trials(plan: Plan, trials: int, score=lambda config: config["lr"]) -> None:
    """Add this many trials to the study of `plan`; the last one stays interrupted."""
    plan.folder.mkdir(parents=True, exist_ok=True)
    study = write_folder(plan, record.open_record(plan.folder, plan.opens))
    searcher = StudySearcher(
        study, plan.space, sampler=plan.sampler, seed=0, budget=Budget(), workers=1,
        overrides={"epochs": plan.epochs},
    )  # fmt: skip
    for index in range(trials):
        config = searcher.suggest(str(index))["config"]
        report = {"epoch": 1, METRIC: score(config), "epochs": 1, "ended": "by itself" if index % 2 else ""}
        if index < trials - 1:
            searcher.on_trial_complete(str(index), report)
        else:
            searcher.on_trial_result(str(index), report | {"ended": ""})


def first_study(home: Path, **more) -> Plan:
    plan = prepare(options(home, space=home / "space.toml", trials=9, study="first", **more))
    play_trials(plan, 9)
    return plan


def contents(trials) -> list[tuple]:
    return [(t.number, t.state, t.params, t.values, t.intermediate_values, t.user_attrs) for t in trials]


def test_a_resume_waits_for_trials_as_its_study_did_until_the_user_gives_a_time(home: Path) -> None:
    path = edited(home, ("trials = 6", "trials = 60\nminutes = 8"))
    plan = prepare(options(home, space=path, study="first"))
    play_trials(plan, 2)
    waiting = Budget(trials=60, minutes=8, least_trials=12)
    assert prepare(options(home, resume="first")).budget == plan.budget == waiting
    assert prepare(options(home, resume="first", trials=90)).budget.least_trials == 12
    assert prepare(options(home, resume="first", minutes=20.0)).budget == Budget(trials=60, minutes=20)


WIDER = (
    ("low = 1e-4\nhigh = 1e-1", "low = 1e-5\nhigh = 1.0"),
    ("low = 1\nhigh = 2", "low = 1\nhigh = 4"),
)


def test_a_wider_space_keeps_every_trial_and_the_sampler_learns_from_all(home: Path) -> None:
    plan = first_study(home)
    before = record.read_record(plan.folder).trials
    resumed = prepare(options(home, resume="first", space=edited(home, *WIDER), trials=20))
    assert (resumed.record, resumed.widened_from) == ("first~2", "first")
    study = write_folder(resumed, record.open_record(resumed.folder, resumed.opens))
    assert contents(study.trials) == contents(before)
    assert study.trials[-1].state == TrialState.RUNNING
    assert {str(t.distributions["lr"]) for t in study.trials} == {str(FloatDistribution(1e-5, 1.0, log=True))}
    assert record.read_record(plan.folder).study_name == "first~2"
    assert (plan.folder / SPACE).read_text(encoding="utf-8") == (home / "other.toml").read_text(
        encoding="utf-8"
    )
    again = prepare(options(home, resume="first", trials=21))
    assert (again.record, again.widened_from) == ("first~2", None)
    assert again.space.parameters["num_L"].high == 4
    third = prepare(
        options(home, resume="first", space=edited(home, *WIDER, ("[true, false]", "[false, true]")))
    )
    assert third.record == "first~3"


def test_values_can_be_added_to_a_choice(home: Path) -> None:
    whole = 'type = "int"\nlow = 1\nhigh = 2'
    two = edited(home, (whole, 'type = "choice"\nvalues = [1, 2]'))
    plan = prepare(options(home, space=two, trials=9, study="first"))
    play_trials(plan, 5)
    wider = edited(home, (whole, 'type = "choice"\nvalues = [1, 2, 3]'))
    resumed = prepare(options(home, resume="first", space=wider))
    play_trials(resumed, 12)
    study = record.read_record(plan.folder)
    assert {t.distributions["num_L"] for t in study.trials if t.params} == {
        CategoricalDistribution((1, 2, 3))
    }
    assert len(study.trials) == 16, "the interrupted trial was continued"


@pytest.mark.parametrize("written", [1, 2])
def test_a_wider_space_is_there_as_a_whole_after_a_kill_between_its_files(
    home: Path, written: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = first_study(home)
    before = record.read_record(plan.folder).trials
    wider = edited(home, *WIDER, ("[true, false]", "[false, true]"))
    resumed = prepare(options(home, resume="first", space=wider))
    files: list[Path] = []

    def write_until_killed(path: Path, text: str) -> None:
        if len(files) == written:
            raise KeyboardInterrupt
        files.append(path)
        write_text(path, text)

    opened = record.open_record(resumed.folder, resumed.opens)
    with monkeypatch.context() as patch:
        patch.setattr("search.run_folder.write_file", write_until_killed)
        with pytest.raises(KeyboardInterrupt):
            write_folder(resumed, opened)
    again = prepare(options(home, resume="first", trials=21))
    assert again.space.parameters == resumed.space.parameters
    study = write_folder(again, record.open_record(again.folder, again.opens))
    assert study.study_name == "first~2"
    assert contents(study.trials) == contents(before)
    play_trials(dataclasses.replace(again, record="first~2", widened_from=None), 2)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("low = 1e-4\nhigh = 1e-1", "low = 9e-3\nhigh = 2e-2"), "outside .*; a resume can widen"),
        (("hidden_dim = 8", "hidden_dim = 16"), "hidden_dim differs"),
        (("log = true", "log = false"), "more than its range"),
        (("log = true", "log = true\nprior = 1e-3"), r"\[space.lr\] prior differs from the study's"),
        (("[space.num_L]", "[space.num_K]"), r"is in \[fixed\], too|not in both spaces"),
    ],
)
def test_a_space_that_is_not_wider_is_refused(home: Path, change: tuple[str, str], sentence: str) -> None:
    first_study(home)
    with pytest.raises(UserError, match=sentence):
        prepare(options(home, resume="first", space=edited(home, change)))


def test_a_resume_keeps_the_priors_and_widens_the_ranges_around_them(home: Path) -> None:
    believed = ("log = true", 'log = true\nprior = 1e-3\nconfidence = "high"')
    plan = prepare(options(home, space=edited(home, believed), trials=9, study="first"))
    play_trials(plan, 9)
    resumed = prepare(options(home, resume="first", trials=20))
    assert resumed.space.parameters["lr"].prior == Prior(1e-3, "high")
    wider = prepare(options(home, resume="first", space=edited(home, believed, *WIDER), trials=20))
    assert (wider.widened_from, wider.space.parameters["lr"].prior) == ("first", Prior(1e-3, "high"))


def test_an_equal_space_changes_nothing(home: Path) -> None:
    first_study(home)
    resumed = prepare(options(home, resume="first", space=home / "space.toml"))
    assert resumed.widened_from is None


def test_a_warm_start_on_the_same_corpus_takes_over_observations(home: Path) -> None:
    first = first_study(home)
    scored = record.scored(record.read_record(first.folder))
    plan = prepare(options(home, space=home / "space.toml", trials=9, study="second", start_from="first"))
    study = record.open_record(home, "second")
    warm_start(plan, study)
    observed = [trial for trial in study.trials if trial.state.is_finished()]
    assert sorted(str(trial.params) for trial in observed) == sorted(str(trial.params) for trial in scored)
    assert record.begun(study) == []
    waiting = [t.system_attrs["fixed_params"] for t in study.trials if t.state == TrialState.WAITING]
    best = max(scored, key=record.score)
    assert waiting == [plan.space.starts[0], best.params]
    warm_start(plan, study)
    assert len(study.trials) == len(observed) + len(waiting), "a second call changes nothing"
    assert "first" in study.user_attrs[STARTED_FROM]


def test_a_warm_start_with_another_corpus_or_other_epochs_takes_over_start_points(home: Path) -> None:
    first_study(home)
    narrow = edited(home, ("low = 1e-4\nhigh = 1e-1", "low = 1e-3\nhigh = 2e-2"))
    plan = prepare(options(home, space=narrow, trials=9, study="second", start_from="first", epochs=7))
    study = record.open_record(home, "second")
    warm_start(plan, study)
    assert all(trial.state == TrialState.WAITING for trial in study.trials)
    assert len(study.trials) == 1 + 5
    for trial in study.trials:
        assert 1e-3 <= trial.system_attrs["fixed_params"]["lr"] <= 2e-2


def test_a_warm_start_from_an_unknown_study_is_refused(home: Path) -> None:
    with pytest.raises(UserError, match="--start-from none: is not a study"):
        prepare(options(home, space=home / "space.toml", trials=1, start_from="none"))


def damage(folder: Path, name: str) -> None:
    path = folder / name
    if name == JOURNAL:
        path.write_bytes(b"no record\n" + path.read_bytes())
    elif name == STUDY:
        path.write_text("epochs = 4\n", encoding="utf-8")
    else:
        path.write_text("[study]\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (JOURNAL, "study.journal: is damaged"),
        (STUDY, "study.toml: study is missing; restore the file"),
        (SPACE, "space.toml: "),
    ],
)
def test_a_warm_start_from_a_damaged_study_is_refused_before_anything_is_written(
    home: Path, name: str, sentence: str
) -> None:
    damage(first_study(home).folder, name)
    before = sorted(home.rglob("*"))
    with pytest.raises(UserError, match=f"^--start-from first: .*{sentence}"):
        prepare(options(home, space=home / "space.toml", trials=9, study="second", start_from="first"))
    assert sorted(home.rglob("*")) == before


def test_a_warm_start_from_a_study_without_its_record_is_refused(home: Path) -> None:
    (first_study(home).folder / JOURNAL).unlink()
    before = sorted(home.rglob("*"))
    with pytest.raises(UserError, match=r"^--start-from first: .*study\.journal: does not exist"):
        prepare(options(home, space=home / "space.toml", trials=9, study="second", start_from="first"))
    assert sorted(home.rglob("*")) == before


def test_a_warm_start_that_was_killed_in_the_middle_is_completed_by_the_resume(home: Path) -> None:
    first_study(home)
    plan = prepare(options(home, space=home / "space.toml", trials=9, study="second", start_from="first"))
    whole, cut = record.open_record(home, "whole"), record.open_record(home, "cut")
    warm_start(plan, whole)
    added = []

    def add_two(trial: FrozenTrial) -> None:
        if len(added) == 2:
            raise KeyboardInterrupt
        if trial.state.is_finished():  # an observation; a start point waits
            added.append(trial)
        add_trial(trial)

    add_trial, cut.add_trial = cut.add_trial, add_two
    with pytest.raises(KeyboardInterrupt):
        warm_start(plan, cut)
    cut.add_trial = add_trial
    warm_start(plan, cut)
    assert [(t.state, t.params, t.values) for t in cut.trials] == [
        (t.state, t.params, t.values) for t in whole.trials
    ]


def test_a_budget_of_gpu_hours_needs_gpus(home: Path) -> None:
    with pytest.raises(UserError, match="--gpu-hours"):
        prepare(options(home, space=home / "space.toml", gpu_hours=1.0))


def test_a_resume_keeps_the_warm_start(home: Path) -> None:
    first_study(home)
    plan = prepare(options(home, space=home / "space.toml", trials=9, study="second", start_from="first"))
    play_trials(plan, 3)
    assert prepare(options(home, resume="second")).start_from == plan.start_from
    assert dataclasses.replace(plan).start_from == (home / "runs" / "first")
