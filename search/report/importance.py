"""Which parameters mattered, by two methods, and how far that can be trusted."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.importance import (
    BaseImportanceEvaluator,
    FanovaImportanceEvaluator,
    PedAnovaImportanceEvaluator,
    get_param_importances,
)
from scipy import stats

from search.report.trial_views import ENOUGH, View, as_scored, good

#: The scores are shuffled among the trials so often, to see what a method makes of nothing.
SHUFFLES = 20
#: Trees of fANOVA's forest: Optuna's 64 take minutes for the shuffles, and say the same.
TREES = 24


@dataclass(frozen=True)
class Importance:
    """Shares of each parameter by one method, the greatest first; they add up to 1."""

    shares: Mapping[str, float]
    chance: float  #: the greatest value of any parameter in any shuffle, in the unit of the shares

    @property
    def beyond_chance(self) -> list[str]:
        """The parameters that have more than any has in any shuffle."""
        return [name for name, share in self.shares.items() if share > self.chance]


@dataclass(frozen=True)
class Importances:
    """What both methods say of the same trials."""

    trials: int
    good: int  #: the best ones, which PED-ANOVA tells from all
    ped_anova: Importance
    fanova: Importance

    @property
    def order(self) -> list[str]:
        """The parameters by their mean share, the greatest first; PED-ANOVA's where fANOVA has none."""
        names, others = self.ped_anova.shares, self.fanova.shares
        return sorted(names, key=lambda name: -(names[name] + others.get(name, names[name])))

    @property
    def left_out(self) -> list[str]:
        """Parameters that fANOVA cannot judge, as not every trial has them."""
        return [name for name in self.ped_anova.shares if name not in self.fanova.shares]

    @property
    def agreement(self) -> float | None:
        """Spearman's rank correlation of the two; None where it does not exist."""
        both = list(self.fanova.shares)
        if len(both) < 3:
            return None
        rank = stats.spearmanr(
            [self.ped_anova.shares[name] for name in both], list(self.fanova.shares.values())
        )
        return float(rank.statistic) if np.isfinite(rank.statistic) else None


def measure(study: optuna.Study) -> Importances | None:
    """Both methods on the scored trials; None where there are too few, or all have the same score."""
    view = as_scored(study)
    trials = view.get_trials(deepcopy=False)
    best = len(good(study))
    if len(trials) < ENOUGH or len({trial.value for trial in trials}) < 2:
        return None
    quantile = best / len(trials)
    return Importances(
        trials=len(trials),
        good=best,
        ped_anova=_importance(view, PedAnovaImportanceEvaluator(target_quantile=quantile)),
        fanova=_importance(view, FanovaImportanceEvaluator(n_trees=TREES, seed=0)),
    )


def _importance(view: View, evaluator: BaseImportanceEvaluator) -> Importance:
    values = _values(view, evaluator)
    total = sum(values.values()) or 1.0
    shuffled = [_values(other, evaluator) for other in _shuffles(view.get_trials(deepcopy=False))]
    chance = max(max(found.values(), default=0.0) for found in shuffled)
    return Importance({name: value / total for name, value in values.items()}, chance / total)


def _values(view: View, evaluator: BaseImportanceEvaluator) -> dict[str, float]:
    """Not made to add up to 1: of shuffled scores, too, one parameter would get a large share."""
    with warnings.catch_warnings():  # experimental, as Optuna says of it
        warnings.simplefilter("ignore")
        found = get_param_importances(view, evaluator=evaluator, normalize=False)
    return {name: float(value) for name, value in found.items()}


def _shuffles(trials: Sequence[optuna.trial.FrozenTrial]) -> list[View]:
    rng, views = np.random.default_rng(0), []
    for _ in range(SHUFFLES):
        others = []
        for trial, place in zip(trials, rng.permutation(len(trials)), strict=True):
            other = copy.copy(trial)
            other.value = trials[place].value
            others.append(other)
        views.append(View(others))
    return views
