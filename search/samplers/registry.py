"""Which sampler proposes a trial.

- gp: Gaussian processes of scores and costs over all parameters (search/samplers/gp_sampler.py).
- tpe: tree-structured Parzen estimators (Bergstra et al., NeurIPS 2011), each parameter by itself
  (search/samplers/tpe.py); running trials count as bad ones, so that parallel proposals differ.
- joint: the same by Optuna, multivariate over each group of parameters that exist together.
- cmaes: CMA-ES with margin (Hamano et al., GECCO 2022), over all numbers without a condition.
- random, qmc: independent draws; a scrambled Sobol sequence over all parameters (search/samplers/qmc.py).
- auto: chosen for the space and the trial, see `choose`.

What cmaes cannot model is left to tpe: conditional parameters, and choices.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from rigsl.errors import UserError
from search.samplers.encoding import Conditions
from search.samplers.gp_sampler import GaussianSampler
from search.samplers.grouped import Distributions, Part, PartsSampler, View
from search.samplers.imputed_scores import observe
from search.samplers.qmc import QuasiRandomSampler
from search.samplers.tpe import ParzenSampler
from search.space.distributions import distribution
from search.space.space import Space

SAMPLERS = ("gp", "tpe", "joint", "cmaes", "random", "qmc", "auto")
#: Ended trials that a sampler sees: more make a proposal slower and no better. A Gaussian process costs their
#: cube.
SEEN, SEEN_BY_GP = 500, 250
#: So many trials auto leaves to the Gaussian process.
SHORT = 60
#: CMA-ES begins around the best of so many trials that others proposed.
ENOUGH = 10
#: Where CmaEsSampler notes with a trial that it comes from it, and its state from then on.
GENERATION, STATE = "cmawm:generation", "cmawm:optimizer:0"


def make_sampler(name: str, seed: int, number: int, space: Space) -> BaseSampler:
    """The sampler that proposes trial `number`: a new one for every trial, seeded by study and trial.

    So, with one worker, a resumed study proposes what it would have proposed without the interruption, and
    never the same random points again. What a sampler has to remember is in the record: the state of
    CMA-ES, with the trials.

    Raises:
        UserError: `space` has too few numbers for cmaes.
    """
    own = seed_of(seed, number)
    if name == "auto":
        name = choose(space, number)
    if name == "random":
        return RandomSampler(seed=own)
    if name == "qmc":  # of the whole study, its scrambling is the same all along
        return QuasiRandomSampler(distributions(space), seed)
    if name == "gp":
        return gaussian(space, own)
    first, *conditional = _groups(space)
    if name == "cmaes":
        numbers, choices = _halves(first)
        if len(numbers) < 2:
            raise UserError(
                f"{space.path}: cmaes needs two numbers without a condition; take another sampler"
            )
        modelled = Part(numbers, lambda seen: _cmaes(seen, numbers, own))
        return PartsSampler([modelled, *_tpe([choices, *conditional], own)], SEEN, own)
    if name == "joint":
        return PartsSampler(_joint([first, *conditional], own), SEEN, own)
    return PartsSampler(_tpe([first, *conditional], own), SEEN, own)


def gaussian(space: Space, seed: int, view: View = observe, **options: Any) -> PartsSampler:
    """gp, over all parameters, with `options` of `GaussianSampler`; it sees a study through `view`."""
    sampler = GaussianSampler(seed, conditions=conditions(space), **options)
    return PartsSampler([Part(distributions(space), lambda seen: sampler)], SEEN_BY_GP, seed, view)


def seed_of(seed: int, number: int) -> int:
    """The seed of the proposal of trial `number` in a study with `seed`."""
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "big")


def distributions(space: Space) -> Distributions:
    """All parameters of a space that can differ."""
    return {name: found for group in _groups(space) for name, found in group.items()}


def conditions(space: Space) -> Conditions:
    """Parameter -> an earlier one -> its values with which the first one exists."""
    return {name: parameter.when for name, parameter in space.parameters.items() if parameter.when}


def choose(space: Space, number: int) -> str:
    """What auto takes for trial `number` of a study: gp, then cmaes or tpe.

    As in Optuna's AutoSampler (hub.optuna.org/samplers/auto_sampler), a Gaussian process makes the most of
    few trials and CMA-ES follows it, begun around its best. But the process pays also beside choices and
    conditions, which AutoSampler leaves to TPE, and CMA-ES pays earlier than after 250 trials: so it is in
    benchmarks/efficiency/simulator.py on problems of 6 to 21 parameters. Where choices prevail, CMA-ES has
    little to do and TPE goes on.
    """
    if number < SHORT:
        return "gp"
    numbers, choices = _halves(_groups(space)[0])
    if len(numbers) >= max(2, len(choices)):
        return "cmaes"
    return "tpe"


def _groups(space: Space) -> list[Distributions]:
    """The parameters by the conditions under which they exist; first those that always do."""
    needs: dict[str, frozenset[tuple[str, tuple[Any, ...]]]] = {}
    groups: dict[frozenset[tuple[str, tuple[Any, ...]]], Distributions] = {frozenset(): {}}
    for name, parameter in space.parameters.items():
        when = parameter.when or {}
        needs[name] = frozenset(when.items()).union(*(needs[other] for other in when))
        if not (found := distribution(parameter)).single():
            groups.setdefault(needs[name], {})[name] = found
    return list(groups.values())


def _halves(group: Distributions) -> tuple[Distributions, Distributions]:
    """Numbers and choices."""
    numbers = {name for name, found in group.items() if not isinstance(found, CategoricalDistribution)}
    return (
        {name: found for name, found in group.items() if name in numbers},
        {name: found for name, found in group.items() if name not in numbers},
    )


def _tpe(groups: Iterable[Distributions], seed: int) -> list[Part]:
    """Each parameter by itself, whatever its group."""
    together = {name: found for group in groups for name, found in group.items()}
    return [Part(together, lambda seen: ParzenSampler(seed))] if together else []


def _joint(groups: Iterable[Distributions], seed: int) -> list[Part]:
    sampler = TPESampler(multivariate=True, constant_liar=True, seed=seed)
    return [Part(group, lambda seen: sampler) for group in groups if group]


def _cmaes(seen: optuna.Study, numbers: Distributions, seed: int) -> CmaEsSampler:
    """CMA-ES, begun around the best of `ENOUGH` or more trials that others proposed (warm start: Nomura et
    al., AAAI 2021), else in the middle of the ranges. It goes on with the state that it left with a trial.
    """
    ended = seen.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    source = []
    if not any(STATE in trial.system_attrs for trial in ended):
        source = [_part_of(trial, numbers) for trial in ended if GENERATION not in trial.system_attrs]
    return CmaEsSampler(seed=seed, with_margin=True, source_trials=source if len(source) >= ENOUGH else None)


def _part_of(trial: FrozenTrial, part: Distributions) -> FrozenTrial:
    """A copy of `trial` with the parameters of `part` only."""
    shown = copy.copy(trial)
    shown.params, shown.distributions = {name: trial.params[name] for name in part}, part
    return shown
