"""Samplers: which configuration a trial gets.

- registry: sampler name -> factory; `make_sampler`.
- factory: what a sampler factory is, and the seed of a trial's proposal.
- gp_sampler: Bayesian optimisation with Gaussian processes (gp), the default.
- gp: the surrogate model itself; kernel_cache: its kernel hyperparameters, kept in the study.
- acquisition: log expected improvement per cost; compression of low scores.
- candidates: the search for the highest acquisition.
- tpe: Optuna's tree-structured Parzen estimator, with conditions.
- cmaes, qmc: CMA-ES with margin; a Sobol sequence.
- priors: what is believed about parameters, as a density and as proposals.
- grouped: a sampler for each group of parameters; parameter_groups: those groups.
- encoding: configurations as unit-cube vectors.
- imputed_scores: the study as a sampler sees it, scores of pruned trials extrapolated.
- good_trials: which trials count as good.
- standalone: gp and tpe as samplers of any Optuna study, `GPSampler` and `TPESampler`.
"""

from search.samplers.standalone import GPSampler, TPESampler
from search.space.prior import Prior

__all__ = ["GPSampler", "Prior", "TPESampler"]
