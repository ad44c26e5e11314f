"""A record that is not where the study expects it: a resume refuses, and leaves everything as it is."""

from pathlib import Path

import pytest
from optuna.trial import create_trial

from rigsl.errors import UserError
from search.plan.new_study import prepare
from search.plan.options import SearchOptions
from search.plan.plan import Plan
from search.record import record
from search.run_folder import CONFIG, JOURNAL, TRIALS, trial_folder
from search.study import run, write_folder
from tests.helpers.played_study import PlayedStudy
from tests.helpers.without_workers import replace_workers

NAME = "one"


def options(home: Path, **more) -> SearchOptions:
    return SearchOptions(tracking_uri=f"sqlite:///{home}/mlflow.db", data_dir=home / "data", **more)


def begin(home: Path, trials: int = 3, **more) -> Plan:
    """A study with so many trials and their folders."""
    plan = prepare(options(home, space=home / "space.toml", trials=9, study=NAME, **more))
    plan.folder.mkdir(parents=True)
    study = write_folder(plan, record.open_record(plan.folder, plan.name, plan.storage))
    for _ in range(trials):
        trial_folder(plan.folder, study.ask().number).mkdir()
    return plan


def contents(home: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


@pytest.mark.parametrize("place", ["journal", "database"])
def test_a_resume_with_a_lost_record_is_refused(home: Path, place: str) -> None:
    storage = None if place == "journal" else f"sqlite:///{home}/study.db"
    plan = begin(home, storage=storage)
    lost = plan.folder / JOURNAL if storage is None else home / "study.db"
    lost.unlink()
    before = contents(home)
    with pytest.raises(UserError, match=f"{lost.name}: does not exist.*; bring back the record"):
        prepare(options(home, resume=NAME))
    assert contents(home) == before


@pytest.mark.parametrize("database", ["other.db", "missing.db"])
def test_a_resume_with_a_storage_that_does_not_hold_the_study_is_refused(home: Path, database: str) -> None:
    begin(home)
    assert record.create_record(home, "another", f"sqlite:///{home}/other.db")
    before = contents(home)
    with pytest.raises(UserError, match=f"--storage sqlite:///.*{database}: .*no study named|does not exist"):
        prepare(options(home, resume=NAME, storage=f"sqlite:///{home / database}"))
    assert contents(home) == before


def test_a_record_that_is_lost_after_the_plan_was_made_is_not_created_again(home: Path) -> None:
    begin(home)
    plan = prepare(options(home, resume=NAME))
    (plan.folder / JOURNAL).unlink()
    with pytest.raises(UserError, match="does not exist"):
        run(plan)
    assert not (plan.folder / JOURNAL).exists()


def test_an_older_copy_of_the_record_is_refused(home: Path) -> None:
    plan = begin(home, trials=1)
    copy = (plan.folder / JOURNAL).read_bytes()
    study = record.open_record(plan.folder, NAME)
    trial_folder(plan.folder, study.ask().number).mkdir()
    (plan.folder / JOURNAL).write_bytes(copy)
    with pytest.raises(UserError, match=f"{JOURNAL}: .*it has 1 trial, but .*{TRIALS} has trial 1; "):
        prepare(options(home, resume=NAME))


def test_the_record_of_another_study_of_the_same_name_is_refused(home: Path) -> None:
    database = f"sqlite:///{home}/study.db"
    played, other = PlayedStudy(home, "http://127.0.0.1:9", NAME), record.open_record(home, NAME, database)
    played.play([], 3)
    for trial in played.study.trials:
        params = trial.params | {"lr": trial.params["lr"] / 2}
        other.add_trial(create_trial(params=params, distributions=trial.distributions, value=0.1))
    assert prepare(options(home, resume=NAME)).resumed
    with pytest.raises(UserError, match=r"study.db: is not the record of this run: its trial 2 has lr = "):
        prepare(options(home, resume=NAME, storage=database))


def test_a_trial_whose_configuration_was_cut_off_by_a_kill_is_resumed(home: Path) -> None:
    played = PlayedStudy(home, "http://127.0.0.1:9", NAME)
    played.play([], 2, last="running")
    path = trial_folder(played.folder, 1) / CONFIG
    path.write_text(path.read_text(encoding="utf-8")[:-5] + "= ", encoding="utf-8")
    assert prepare(options(home, resume=NAME)).resumed


def test_reading_a_lost_record_creates_nothing(home: Path) -> None:
    plan = begin(home, trials=0)
    (plan.folder / JOURNAL).unlink()
    before = contents(home)
    with pytest.raises(UserError, match="does not exist"):
        record.read_record(plan.folder)
    with pytest.raises(UserError, match="does not exist"):
        record.read_record(plan.folder, f"sqlite:///{home}/missing.db")
    assert contents(home) == before


def test_a_study_that_was_killed_before_its_first_trial_begins_anew(home: Path) -> None:
    plan = begin(home, trials=0)
    (plan.folder / JOURNAL).unlink()
    (plan.folder / TRIALS).rmdir()
    assert record.open_record(plan.folder, prepare(options(home, resume=NAME)).opens).trials == []


def test_two_new_studies_of_one_name_in_one_database_get_a_record_each(
    tracked_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = f"sqlite:///{tracked_home}/study.db"
    plans = [
        prepare(
            options(
                tracked_home,
                space=tracked_home / "space.toml",
                trials=9,
                study=NAME,
                storage=storage,
                runs_dir=runs,
            )
        )
        for runs in (tracked_home / "here", tracked_home / "there")
    ]
    replace_workers(monkeypatch, search=lambda plan, study: study.tell(study.ask(), 0.5))
    outcomes = [run(plan) for plan in plans]
    assert [outcome.plan.name for outcome in outcomes] == [NAME, "one-2"]
    for outcome in outcomes:
        assert len(record.read_record(outcome.plan.folder).trials) == 1
        assert outcome.plan.folder.name == outcome.plan.name
    assert prepare(options(tracked_home, resume=NAME, runs_dir=tracked_home / "here")).opens == NAME
    assert prepare(options(tracked_home, resume="one-2", runs_dir=tracked_home / "there")).opens == "one-2"


def test_names_after_the_time_are_numbered_where_the_database_holds_them(
    tracked_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a job array, whose searches start within the same second."""
    storage = f"sqlite:///{tracked_home}/study.db"
    new = options(tracked_home, space=tracked_home / "space.toml", trials=9, storage=storage)
    first = prepare(new)
    replace_workers(monkeypatch)
    assert run(first).plan.name == first.name
    monkeypatch.setattr("search.plan.new_study.free_folder", lambda *_: tracked_home / "there" / first.name)
    assert run(prepare(new)).plan.name == f"{first.name}-2"


def test_a_name_whose_folder_appears_meanwhile_is_given_back_to_the_database(
    tracked_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = f"sqlite:///{tracked_home}/study.db"
    plan = prepare(
        options(tracked_home, space=tracked_home / "space.toml", trials=9, study=NAME, storage=storage)
    )
    create = record.create_record

    def create_late(folder: Path, name: str, url: str) -> bool:
        if name == NAME:
            (folder / TRIALS).mkdir(parents=True)  # of another process
        return create(folder, name, url)

    monkeypatch.setattr(record, "create_record", create_late)
    replace_workers(monkeypatch)
    assert run(plan).plan.name == "one-2"
    assert record.create_record(tracked_home, NAME, storage)
