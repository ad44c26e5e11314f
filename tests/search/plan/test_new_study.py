"""The plan of a new study: names in any case, limits of the user, and mistakes found before it starts."""

from pathlib import Path

import pytest

from rigsl.errors import UserError
from search.plan import checks
from search.plan.new_study import prepare
from search.plan.options import SearchOptions
from search.space.budget import Budget


def options(home: Path, **more) -> SearchOptions:
    given = {"space": home / "space.toml", "data_dir": home / "data", "trials": 3}
    return SearchOptions(**(given | more))


def with_dataset(home: Path, dataset: str) -> Path:
    path = home / "other.toml"
    text = (home / "space.toml").read_text(encoding="utf-8")
    assert 'dataset = "MELD"' in text
    path.write_text(text.replace('dataset = "MELD"', f'dataset = "{dataset}"'), encoding="utf-8")
    return path


@pytest.mark.parametrize(("dataset", "in_space"), [("MELD", "meld"), ("meld", "MELD"), ("Meld", "mELD")])
def test_a_dataset_has_its_registered_name_whatever_the_user_writes(
    home: Path, dataset: str, in_space: str
) -> None:
    plan = prepare(options(home, dataset=dataset, space=with_dataset(home, in_space)))
    assert plan.space.dataset == plan.options()["dataset"] == "MELD"
    assert plan.folder.name.startswith("meld-open-")


def test_an_unknown_dataset_in_a_space_is_refused_before_the_search(home: Path) -> None:
    path = with_dataset(home, "EmoryNLP")
    with pytest.raises(UserError) as refused:
        prepare(options(home, space=path))
    assert str(refused.value).startswith(
        f"{path}: [study] dataset: unknown dataset 'EmoryNLP'; the datasets are"
    )
    assert not (home / "runs").exists()


def test_a_space_of_another_dataset_is_refused(home: Path) -> None:
    with pytest.raises(UserError, match="is a space for the open features of IEMOCAP; this corpus is"):
        prepare(options(home, space=with_dataset(home, "iemocap")))


def test_a_dataset_that_the_export_cannot_handle_is_refused_before_the_search(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(config: object, dataset: str) -> str:
        raise UserError(f"no command for {dataset}")

    monkeypatch.setattr("search.plan.checks.official_command", refuse)
    with pytest.raises(UserError, match="no command for MELD"):
        prepare(options(home))


def test_limits_of_the_user_replace_those_of_the_space(home: Path) -> None:
    assert prepare(options(home, trials=3)).budget == Budget(trials=3)
    assert prepare(options(home, trials=None, minutes=2.0)).budget == Budget(minutes=2.0)
    with pytest.raises(UserError, match="--time-budget: 0 is not a number above 0"):
        prepare(options(home, trials=None, minutes=0))


def test_a_default_time_limit_waits_for_trials_and_one_of_the_user_does_not(home: Path) -> None:
    path = home / "other.toml"
    text = (home / "space.toml").read_text(encoding="utf-8")
    path.write_text(text.replace("trials = 6", "trials = 60\nminutes = 8"), encoding="utf-8")
    default = prepare(options(home, space=path, trials=None))
    assert default.budget == Budget(trials=60, minutes=8, least_trials=12)
    assert prepare(options(home, space=path, trials=None, target=0.9)).budget.least_trials == 12
    assert prepare(options(home, space=path, trials=None, minutes=2.0)).budget == Budget(minutes=2.0)
    assert prepare(options(home, space=path, trials=3)).budget == Budget(trials=3)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"study": "a/b"}, "--study a/b: is not a name of letters, digits"),
        (
            {"study": "data", "runs_dir": Path()},
            "--study data: exists already; continue it with --resume data",
        ),
        ({"runs_dir": Path("space.toml")}, "space.toml is not a folder"),
        ({"sampler": "grid"}, "--sampler grid: is not one of gp"),
        ({"scheduler": "grid"}, "--scheduler grid: is not one of asha"),
        ({"finalist_seeds": 0}, "--finalist-seeds: 0 is not a whole number from 1 up"),
        ({"tracking_uri": "mlflow.db"}, "--tracking-uri mlflow.db: is not an address like"),
    ],
)
def test_a_mistake_is_named_by_its_option_and_nothing_is_written(
    home: Path, more: dict, sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        prepare(options(home, **more))
    assert not (home / "runs").exists()


def test_trials_leave_a_fold_out_where_finals_have_folds(home: Path) -> None:
    plan = prepare(options(home, test_seeds=1))
    assert plan.validation_folds == plan.final.folds == 3
    folds = plan.trials_folds
    assert set(folds[plan.corpus.dialogues("train")]) == {0, 1, 2}
    for more in ({"folds": 0}, {"test_seeds": 0}, {"validation": "dev"}):
        assert prepare(options(home, **({"test_seeds": 1} | more))).validation_folds == 0, more
    assert prepare(options(home, folds=2, validation="folds")).validation_folds == 2
    assert prepare(options(home, folds=0, validation="folds")).validation_folds == 3


def test_the_space_can_say_what_trials_are_scored_on(home: Path) -> None:
    path = home / "space.toml"
    text = path.read_text(encoding="utf-8")
    for value in ("dev", "folds"):
        path.write_text(text.replace("[study]", f'[study]\nvalidation = "{value}"'), encoding="utf-8")
        assert bool(prepare(options(home)).validation_folds) == (value == "folds")
    assert prepare(options(home, validation="dev")).validation_folds == 0
    path.write_text(text.replace("[study]", '[study]\nvalidation = "test"'), encoding="utf-8")
    with pytest.raises(UserError, match=r"validation: 'test' is not one of dev, folds"):
        prepare(options(home))


@pytest.mark.parametrize("says", ["option", "space"])
def test_folds_that_the_features_know_are_refused_for_trials(
    home: Path, monkeypatch: pytest.MonkeyPatch, says: str
) -> None:
    monkeypatch.setattr(checks, "folds_refused", lambda corpus, folds: "its features know the labels")
    assert prepare(options(home)).validation_folds == 0
    more = {"validation": "folds"}
    if says == "space":
        path = home / "space.toml"
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("[study]", '[study]\nvalidation = "folds"'), encoding="utf-8")
        more = {}
    with pytest.raises(UserError, match="its features know the labels; give --validation dev"):
        prepare(options(home, **more))


def test_an_unknown_validation_is_refused(home: Path) -> None:
    with pytest.raises(UserError, match="--validation test: is not one of dev, folds"):
        prepare(options(home, validation="test"))
