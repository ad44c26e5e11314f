"""auto: the sampler is chosen for the space and the trial."""

from __future__ import annotations

from optuna.samplers import BaseSampler

from search.samplers.cmaes import make_cmaes
from search.samplers.factory import SamplerFactory
from search.samplers.gp_sampler import make_gp
from search.samplers.parameter_groups import condition_groups, numbers_and_choices
from search.samplers.tpe import make_tpe
from search.space.space import Space

#: The first trials of a study, which gp proposes.
GP_TRIALS = 60


def make_auto(space: Space, seed: int, number: int) -> BaseSampler:
    """The sampler that `choose` takes."""
    return choose(space, number)(space, seed, number)


def choose(space: Space, number: int) -> SamplerFactory:
    """The sampler for trial `number` of a study: gp, then cmaes or tpe.

    As in Optuna's AutoSampler (hub.optuna.org/samplers/auto_sampler), a Gaussian process makes the most of
    few trials, and CMA-ES follows, started from the best of them. Two things differ, as measured with
    benchmarks/efficiency/simulator.py on problems of 6 to 21 parameters: the Gaussian process also pays
    for choices and conditions, which AutoSampler leaves to TPE, and CMA-ES pays earlier than after 250
    trials. Where most parameters are choices, CMA-ES has little to do, and TPE follows.
    """
    if number < GP_TRIALS:
        return make_gp
    numbers, choices = numbers_and_choices(condition_groups(space)[0])
    if len(numbers) >= max(2, len(choices)):
        return make_cmaes
    return make_tpe
