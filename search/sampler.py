"""Which Optuna sampler proposes a trial.

- tpe: tree-structured Parzen estimators (Bergstra et al., NeurIPS 2011), multivariate over each group of
  parameters that exist together; running trials count as bad ones, so that parallel proposals differ.
- gp: a Gaussian process with log expected improvement, over all parameters without a condition.
- cmaes: CMA-ES with margin (Hamano et al., GECCO 2022), over all numbers without a condition.
- random, qmc: independent draws; a scrambled Sobol sequence over all parameters.
- auto: chosen for the space and the trial, see `choose`.

What gp and cmaes cannot model is left to tpe: conditional parameters, and choices beside cmaes.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from rigsl.errors import UserError
from search.observed import observe
from search.space import Space
from search.widen import distribution

SAMPLERS = ("tpe", "gp", "cmaes", "random", "qmc", "auto")
#: Ended trials that a sampler sees. More make proposals slower and no better; a Gaussian process costs their
#: cube.
SEEN, SEEN_BY_GP = 500, 250
#: From this trial on, auto takes CMA-ES in the place of the Gaussian process.
LONG = 250
STARTUP = 10
#: Where CmaEsSampler notes with a trial that it proposed it.
GENERATION = "cmawm:generation"

Distributions = dict[str, BaseDistribution]


class Part(NamedTuple):
    """Parameters that one sampler draws together."""

    distributions: Distributions
    sampler: Callable[[optuna.Study], BaseSampler]  #: given what it will see


class PartsSampler(BaseSampler):
    """Draws every part of a space with its own sampler, from `observe`d trials; what is left, at random."""

    def __init__(self, parts: Iterable[Part], most: int, seed: int) -> None:
        self._parts, self._most, self._rest = tuple(parts), most, RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Distributions:
        """All parameters of all parts."""
        return {name: found for part in self._parts for name, found in part.distributions.items()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Distributions
    ) -> dict[str, Any]:
        """Values from every part's own sampler."""
        params: dict[str, Any] = {}
        seen = observe(study, self._most)
        for part in self._parts:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                sampler = part.sampler(seen)
            params |= sampler.sample_relative(seen, trial, part.distributions)
        return params

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """At random: a range of one value, or what no part holds."""
        return self._rest.sample_independent(study, trial, param_name, param_distribution)


def make_sampler(name: str, seed: int, number: int, space: Space) -> BaseSampler:
    """The sampler that proposes trial `number`: a new one for every trial, seeded by study and trial.

    So, with one worker, a resumed study proposes what it would have proposed without the interruption, and
    never the same random points again. What a sampler has to remember is in the record: the place in the
    Sobol sequence with the study, the state of CMA-ES with the trials.

    Raises:
        UserError: `space` has nothing that the sampler could model.
    """
    own = int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "big")
    if name == "auto":
        name = choose(space, number)
    groups = _groups(space)
    if name == "random":
        return RandomSampler(seed=own)
    if name == "qmc":  # the sequence's place is in the record; its scrambling must be the same all along
        together = {key: found for group in groups for key, found in group.items()}
        return PartsSampler([Part(together, lambda seen: QMCSampler(scramble=True, seed=seed))], 0, own)
    if name == "gp":
        modelled = Part(groups[0], lambda seen: GPSampler(seed=own))
        return PartsSampler([modelled, *_tpe(groups[1:], own)], SEEN_BY_GP, own)
    if name == "cmaes":
        numbers, choices = _halves(groups[0])
        if len(numbers) < 2:
            raise UserError(
                f"{space.path}: cmaes needs two numbers without a condition; take another sampler"
            )
        modelled = Part(numbers, lambda seen: _cmaes(seen, numbers, own))
        return PartsSampler([modelled, *_tpe([choices, *groups[1:]], own)], SEEN, own)
    return PartsSampler(_tpe(groups, own), SEEN, own)


def choose(space: Space, number: int) -> str:
    """What auto takes for trial `number`, by rules like those of Optuna's AutoSampler.

    Where there are choices or conditions, tpe, which models both. On plain numbers a Gaussian process, as
    long as its cubic cost is small beside a training, then CMA-ES.
    """
    groups = _groups(space)
    if len(groups) > 1 or _halves(groups[0])[1]:
        return "tpe"
    return "gp" if number < LONG else "cmaes"


def _groups(space: Space) -> list[Distributions]:
    """The parameters by the conditions under which they exist; those without one first."""
    conditions: dict[str, frozenset[tuple[str, tuple[Any, ...]]]] = {}
    groups: dict[frozenset[tuple[str, tuple[Any, ...]]], Distributions] = {frozenset(): {}}
    for name, parameter in space.parameters.items():
        own = parameter.when or {}
        conditions[name] = frozenset(own.items()).union(*(conditions[other] for other in own))
        if not (found := distribution(parameter)).single():
            groups.setdefault(conditions[name], {})[name] = found
    return list(groups.values())


def _halves(group: Distributions) -> tuple[Distributions, Distributions]:
    """Numbers and choices."""
    choices = {name for name, found in group.items() if isinstance(found, CategoricalDistribution)}
    return (
        {name: found for name, found in group.items() if name not in choices},
        {name: found for name, found in group.items() if name in choices},
    )


def _tpe(groups: Iterable[Distributions], seed: int) -> list[Part]:
    sampler = TPESampler(multivariate=True, constant_liar=True, seed=seed)
    return [Part(group, lambda seen: sampler) for group in groups if group]


def _cmaes(seen: optuna.Study, numbers: Distributions, seed: int) -> CmaEsSampler:
    """CMA-ES; it begins around the best of earlier trials, where there are enough that it did not propose.

    Else around the middle of the ranges. Its state is in the trials that it proposed (warm start: Nomura et
    al., AAAI 2021).
    """
    complete = seen.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    source = [
        create_trial(
            value=trial.value,
            params={name: trial.params[name] for name in numbers},
            distributions=numbers,
        )
        for trial in complete
        if GENERATION not in trial.system_attrs and numbers.keys() <= trial.params.keys()
    ]
    return CmaEsSampler(seed=seed, with_margin=True, source_trials=source if len(source) >= STARTUP else None)
