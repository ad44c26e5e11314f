"""What a study that has ended needs to go on: the options that are printed are accepted by a resume."""

from pathlib import Path

import pytest

import run_search
from rigsl.errors import UserError
from search.cli import _search_options
from search.plan.checks import limited
from search.record import record
from search.results import Outcome
from search.space.budget import Budget, Spent, exhausted
from search.space.extension import extended, extending_options
from search.study import run
from search.terminal.summary import print_outcome
from tests.helpers.played_study import PlayedStudy
from tests.helpers.toy_study import toy_plan

SCORES = (0.1, 0.3, None, 0.2, 0.25)


@pytest.mark.parametrize(
    ("budget", "spent", "options"),
    [
        (Budget(trials=20), Spent(finished=20, scores=SCORES), "--trials 40"),
        (Budget(trials=3), Spent(finished=13, scores=SCORES), "--trials 24"),
        (Budget(minutes=8.0), Spent(seconds=485.0), "--time-budget 16m"),
        (Budget(minutes=0.25), Spent(seconds=16.0), "--time-budget 30s"),
        (Budget(gpu_hours=1.5), Spent(gpu_seconds=5400.0), "--gpu-hours 3"),
        (Budget(target=0.3), Spent(scores=SCORES), "--target 0.31"),
        (Budget(patience=3), Spent(scores=SCORES, finished=5), "--patience 6"),
        (Budget(trials=5, minutes=9.0), Spent(seconds=60.0, finished=5, scores=SCORES), "--trials 10"),
        (
            Budget(trials=5, minutes=1.0, target=0.9),
            Spent(seconds=70.0, finished=5, scores=SCORES),
            "--trials 10 --time-budget 2m",
        ),
        (
            Budget(minutes=8.0, least_trials=12),
            Spent(seconds=1441.0, finished=5, scores=SCORES),
            "--time-budget 32m",
        ),
        (
            Budget(trials=5, minutes=8.0, least_trials=5),
            Spent(seconds=100.0, finished=5, scores=SCORES),
            "--trials 10",
        ),
    ],
)
def test_every_limit_that_is_used_up_is_raised(budget: Budget, spent: Spent, options: str) -> None:
    assert exhausted(budget, spent)
    longer = extended(budget, spent)
    assert longer is not None
    assert extending_options(budget, longer) == options
    arguments = vars(run_search.parser().parse_args(["--resume", "one", *options.split()]))
    given = _search_options(arguments)
    assert limited(budget, given) == longer
    assert exhausted(longer, spent) is None


@pytest.mark.parametrize(
    ("budget", "spent"),
    [
        (Budget(trials=500), Spent(finished=10, scores=[None] * 10)),
        (Budget(target=1.0), Spent(scores=[1.0])),
        (Budget(minutes=8.0, least_trials=12), Spent(seconds=500.0, finished=5, scores=SCORES)),  # it waits
        (Budget(trials=500), Spent(finished=5, scores=SCORES)),  # ended since all of the space was tried
    ],
)
def test_no_option_is_offered_where_none_helps(budget: Budget, spent: Spent) -> None:
    assert extended(budget, spent) is None


def test_the_printed_command_and_the_refusal_name_options_that_work(
    tracked_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    from rich.console import Console

    played = PlayedStudy(tracked_home, f"sqlite:///{tracked_home}/mlflow.db")
    played.play([], 50)
    exported = played.finish()
    monkeypatch.setattr("search.terminal.summary._print_scores", lambda *_: None)  # there was no final stage
    outcome = Outcome(played.plan, "all 50 trials done", None, record.counts(played.study), exported)
    print_outcome(outcome, None, Console(soft_wrap=True))
    command = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("resume"))
    assert command.endswith("run_search.py --resume one --trials 100")
    with pytest.raises(UserError, match=r"give it a larger budget, such as --trials 100$"):
        run(toy_plan(tracked_home, resume="one"))
