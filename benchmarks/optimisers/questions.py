"""Questions about gp that a part of the tuning half answers: each compares variants of it with itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.optimisers.beliefs import BELIEFS
from benchmarks.optimisers.problems import FAMILIES, TABULAR, problems
from benchmarks.optimisers.recommendation import RULES
from benchmarks.optimisers.rivals import OURS
from benchmarks.optimisers.studies import Cell

NOISY = "bbob-noisy"


@dataclass(frozen=True)
class Question:
    """Variants of gp on some problems."""

    title: str
    variants: tuple[str, ...]
    problems: tuple[str, ...]
    seeds: Mapping[str, int]  #: family -> studies of each problem


def _of_tuning(family: str, dimension: int | None = None) -> tuple[str, ...]:
    return tuple(
        problem.name
        for problem in problems().values()
        if problem.family == family and problem.half == "tuning" and dimension in (None, problem.dimension)
    )


#: Of each suite of COCO, the functions 3, 9 and 15 with 10 parameters, with noise 5; of each collection of
#: tables, one.
BELIEF_PROBLEMS = (
    "hpobench-credit_g", "hpolib-parkinsons_telemonitoring", "nasbench201-cifar100",
    *(f"{suite}-f{number}-d10" for suite in ("bbob", "bbob-mixint") for number in (3, 9, 15)),
    *(f"{NOISY}-f{number}-d5" for number in (3, 9, 15)),
)  # fmt: skip
QUESTIONS: Mapping[str, Question] = {
    "priors": Question(
        "Prior knowledge",
        tuple(BELIEFS),
        BELIEF_PROBLEMS,
        dict.fromkeys(FAMILIES, 3),
    ),
    "recommendation": Question(
        "Recommendation under noise",
        tuple(RULES),
        (*_of_tuning(NOISY, 5), *_of_tuning(TABULAR)),
        {NOISY: 1, TABULAR: 3},
    ),
}


def question_cells(question: Question, trials: int, seeds: int | None, *, short: bool) -> list[Cell]:
    """The studies of a question; in the short form, one of one problem of each family.

    Args:
        question: whose variants run.
        trials: of each study.
        seeds: studies of each problem; None: as many as the question says.
        short: whether it is the short form.
    """
    families = {name: problems()[name].family for name in question.problems}
    chosen = {family: name for name, family in reversed(families.items())}.values()
    return [
        Cell(sampler, name, seed, trials)
        for name in (chosen if short else question.problems)
        for seed in range(1 if short else seeds or question.seeds[families[name]])
        for sampler in (OURS, *question.variants)
    ]
