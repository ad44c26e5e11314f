"""Hyperparameter importance by PED-ANOVA and fANOVA, and how far it exceeds chance."""

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

from search.report.trial_views import StudyView, good_trials, scored_view
from search.samplers.good_trials import MIN_SCORED

#: Permutations of the scores among the trials, for the importance that a method finds by chance.
SHUFFLES = 20
#: Trees of fANOVA's forest: with Optuna's 64 the shuffles take minutes, without another result.
TREES = 24


@dataclass(frozen=True)
class Importance:
    """Shares of each parameter by one method, the largest first; they add up to 1."""

    shares: Mapping[str, float]
    chance: float  #: the largest value of any parameter in any shuffle, in the unit of the shares

    @property
    def beyond_chance(self) -> list[str]:
        """The parameters with a larger share than any parameter has in any shuffle."""
        return [name for name, share in self.shares.items() if share > self.chance]


@dataclass(frozen=True)
class Importances:
    """Both methods on the same trials."""

    trials: int
    good: int  #: the best trials, which PED-ANOVA compares with all
    ped_anova: Importance
    fanova: Importance

    @property
    def order(self) -> list[str]:
        """The parameters by their mean share, the largest first; by PED-ANOVA's where fANOVA has none."""
        names, others = self.ped_anova.shares, self.fanova.shares
        return sorted(names, key=lambda name: -(names[name] + others.get(name, names[name])))

    @property
    def left_out(self) -> list[str]:
        """Parameters that fANOVA cannot assess, because not every trial has them."""
        return [name for name in self.ped_anova.shares if name not in self.fanova.shares]

    @property
    def agreement(self) -> float | None:
        """Spearman's rank correlation of the two methods; None: it is not defined."""
        names = list(self.fanova.shares)
        if len(names) < 3:
            return None
        rank = stats.spearmanr(
            [self.ped_anova.shares[name] for name in names], list(self.fanova.shares.values())
        )
        return float(rank.statistic) if np.isfinite(rank.statistic) else None


def measure(study: optuna.Study) -> Importances | None:
    """Both methods on the scored trials; None: there are too few, or all have the same score."""
    view = scored_view(study)
    trials = view.get_trials(deepcopy=False)
    good = len(good_trials(study))
    if len(trials) < MIN_SCORED or len({trial.value for trial in trials}) < 2:
        return None
    quantile = good / len(trials)
    return Importances(
        trials=len(trials),
        good=good,
        ped_anova=_importance(view, PedAnovaImportanceEvaluator(target_quantile=quantile)),
        fanova=_importance(view, FanovaImportanceEvaluator(n_trees=TREES, seed=0)),
    )


def _importance(view: StudyView, evaluator: BaseImportanceEvaluator) -> Importance:
    values = _values(view, evaluator)
    total = sum(values.values()) or 1.0
    shuffled = [_values(other, evaluator) for other in _shuffles(view.get_trials(deepcopy=False))]
    chance = max(max(values.values(), default=0.0) for values in shuffled)
    return Importance({name: value / total for name, value in values.items()}, chance / total)


def _values(view: StudyView, evaluator: BaseImportanceEvaluator) -> dict[str, float]:
    """Not normalised: otherwise one parameter would have a large share of shuffled scores, too."""
    with warnings.catch_warnings():  # Optuna marks the evaluators as experimental
        warnings.simplefilter("ignore")
        importances = get_param_importances(view, evaluator=evaluator, normalize=False)
    return {name: float(value) for name, value in importances.items()}


def _shuffles(trials: Sequence[optuna.trial.FrozenTrial]) -> list[StudyView]:
    """The trials with their scores permuted, several times."""
    rng, views = np.random.default_rng(0), []
    for _ in range(SHUFFLES):
        shuffled = []
        for trial, source in zip(trials, rng.permutation(len(trials)), strict=True):
            other = copy.copy(trial)
            other.value = trials[source].value
            shuffled.append(other)
        views.append(StudyView(shuffled))
    return views
