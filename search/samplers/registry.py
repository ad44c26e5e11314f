"""The samplers by name.

A new sampler is a file in this folder with a factory (search/samplers/factory.py), and a line in SAMPLERS.
The command line, the checks, the benchmarks and the tests then know its name.
"""

from __future__ import annotations

from optuna.samplers import BaseSampler, RandomSampler

from rigsl.errors import UserError
from search.samplers.cmaes import make_cmaes
from search.samplers.factory import SamplerFactory, trial_seed
from search.samplers.gp_sampler import make_gp
from search.samplers.parameter_groups import priors
from search.samplers.priors import EVERY, is_drawn, make_prior
from search.samplers.qmc import make_qmc
from search.samplers.tpe import make_tpe
from search.space.space import Space


def make_random(space: Space, seed: int, number: int) -> RandomSampler:
    """random: independent draws."""
    return RandomSampler(seed=trial_seed(seed, number))


#: Name -> factory, in the order in which the names are listed to users.
SAMPLERS: dict[str, SamplerFactory] = {
    "gp": make_gp,
    "tpe": make_tpe,
    "cmaes": make_cmaes,
    "random": make_random,
    "qmc": make_qmc,
}
DEFAULT_SAMPLER = "gp"
#: Names of earlier versions, which stay valid; `auto` took cmaes or tpe after 60 trials, and found no more.
EARLIER_NAMES = {"joint": "tpe", "auto": "gp"}
#: Samplers that weigh priors by themselves. With any other, some of the first proposals are drawn from them.
WEIGHING_PRIORS = ("gp",)
#: So many, and as many without priors between them, after the start points.
PRIOR_DRAWS = 5


def make_sampler(name: str, seed: int, number: int, space: Space) -> BaseSampler:
    """The sampler that proposes trial `number`: a new one for every trial, seeded by study and trial.

    So, with one worker, a resumed study proposes what it would have proposed without the interruption, and
    never the same random points again. What a sampler has to remember is in the record, such as the state of
    CMA-ES, with the trials.

    Raises:
        UserError: there is no sampler `name`, or it cannot model `space`.
    """
    name = EARLIER_NAMES.get(name, name)
    if name not in SAMPLERS:
        raise UserError(f"unknown sampler '{name}'; choose one of {', '.join(SAMPLERS)}")
    sampler = SAMPLERS[name](space, seed, number)
    first = 0 <= number - len(space.starts) < EVERY * PRIOR_DRAWS
    if first and is_drawn(number) and name not in WEIGHING_PRIORS and priors(space):
        return make_prior(space, seed, number)
    return sampler


def priors_in_words(name: str, space: Space) -> str:
    """The priors of a space, and what the sampler `name` makes of them; empty: there are none."""
    if not (believed := priors(space)):
        return ""
    name = EARLIER_NAMES.get(name, name)
    use = (
        "they count less with every trial"
        if name in WEIGHING_PRIORS
        else f"{name} draws {PRIOR_DRAWS} of its first {EVERY * PRIOR_DRAWS} proposals from them"
    )
    return ", ".join(f"{key} {prior.describe()}" for key, prior in believed.items()) + f"; {use}"
