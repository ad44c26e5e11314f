"""The narrowed space of a second study lies around the good trials of the first."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from search.export.narrow import write_next_space
from search.record import lineage
from search.run_folder import NEXT_SPACE
from search.space.distributions import distribution
from search.space.prior import Prior
from search.space.space import Space, read_space


@pytest.fixture
def run(home: Path) -> tuple[Path, Space]:
    folder = home / "runs" / "one"
    (folder / "best").mkdir(parents=True)
    (folder / "space.toml").write_bytes((home / "space.toml").read_bytes())
    return folder, read_space(folder / "space.toml")


def study_of(space: Space, *points: tuple[dict, float]) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    for params, score in points:
        kinds = {name: distribution(space.parameters[name]) for name in params}
        study.add_trial(
            create_trial(state=TrialState.COMPLETE, value=score, params=params, distributions=kinds)
        )
    return study


def point(lr: float, gumbel: bool = False, depth: int = 1) -> dict:
    params = {"lr": lr, "num_L": depth, "use_gumbel": gumbel}
    return params | ({"tau": 0.3} if gumbel else {})


def test_ranges_shrink_to_the_good_trials_with_a_margin(run) -> None:
    folder, space = run
    good = [(point(lr, gumbel=True), 0.6) for lr in (2e-3, 3e-3, 4e-3, 5e-3, 6e-3)]
    bad = [(point(lr, gumbel=False, depth=2), 0.1) for lr in (1e-4, 9e-2, 5e-2, 2e-4, 3e-4, 4e-4, 6e-4)]
    path = write_next_space(folder, space, study_of(space, *good, *bad), good[1][0])
    assert path == folder / "best" / NEXT_SPACE
    narrowed = read_space(path)
    lr = narrowed.parameters["lr"]
    assert 1e-3 < lr.low <= 2e-3
    assert 6e-3 <= lr.high < 1.2e-2
    assert narrowed.fixed["use_gumbel"] is True, "the only value of all good trials"
    assert narrowed.parameters["tau"].when is None
    assert narrowed.starts[0]["lr"] == 3e-3


def test_a_child_with_its_parents_score_does_not_count_as_a_good_trial(run) -> None:
    """Population based training: its own configuration has spoiled what it began with."""
    folder, space = run
    good = [(point(lr), 0.6) for lr in (2e-3, 3e-3, 4e-3, 5e-3, 6e-3)]
    bad = [(point(lr, depth=2), 0.1) for lr in (1e-4, 9e-2, 5e-2, 2e-4, 3e-4)]
    study = study_of(space, *good, *bad)
    child = study_of(space, (point(9.5e-2), 0.7)).trials[0]
    child.user_attrs = {lineage.PARENT: 0, lineage.PARENT_EPOCH: 2, "best_epoch": 2}
    study.add_trial(child)
    narrowed = read_space(write_next_space(folder, space, study, good[0][0]))
    assert narrowed.parameters["lr"].high < 1.2e-2


def test_a_parameter_that_no_good_trial_has_is_dropped(run) -> None:
    folder, space = run
    good = [(point(lr), 0.6) for lr in (2e-3, 3e-3, 4e-3, 5e-3, 6e-3)]
    bad = [(point(lr, gumbel=True), 0.1) for lr in (1e-4, 9e-2, 5e-2, 2e-4, 3e-4)]
    narrowed = read_space(write_next_space(folder, space, study_of(space, *good, *bad), good[0][0]))
    assert "tau" not in narrowed.parameters
    assert narrowed.fixed["use_gumbel"] is False


def test_nothing_is_written_from_few_trials(run) -> None:
    folder, space = run
    assert write_next_space(folder, space, study_of(space, (point(1e-3), 0.5)), point(1e-3)) is None
    assert not (folder / "best" / NEXT_SPACE).exists()


def test_priors_stay_where_the_good_trials_lie_and_go_elsewhere(run) -> None:
    folder, _ = run
    path = folder / "space.toml"
    text = path.read_text()
    changes = (
        ("[space.lr]", '[space.lr]\nprior = 9e-2\nconfidence = "high"'),
        ("[space.num_L]", '[space.num_L]\nprior = 1\nconfidence = "medium"'),
        ("[space.use_gumbel]", "[space.use_gumbel]\nprior = false"),
    )
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    space = read_space(path)
    good = [(point(lr, gumbel=True), 0.6) for lr in (2e-3, 3e-3, 4e-3, 5e-3, 6e-3)]
    bad = [(point(lr), 0.1) for lr in (1e-4, 9e-2, 5e-2, 2e-4, 3e-4)]
    narrowed = read_space(write_next_space(folder, space, study_of(space, *good, *bad), good[0][0]))
    assert narrowed.parameters["lr"].high < 9e-2
    assert narrowed.parameters["lr"].prior is None
    assert narrowed.parameters["num_L"].prior == space.parameters["num_L"].prior == Prior(1, "medium")
    assert narrowed.fixed["use_gumbel"] is True
