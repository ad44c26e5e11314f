"""Search efficiency: which method finds the best configuration per hour, in simulated time.

- command: the comparison, ``python -m benchmarks.efficiency``
- page, summaries: its page and picture, and the statistics in them
- run_study: one study, its search and its race of finalists
- baselines, ablations: the methods that are compared
- stopping: stopping by predicted ends and pausing, ``python -m benchmarks.efficiency.stopping``
- freeze_thaw: its method; curve_model and progress: how the end of a training is predicted
- mlp_curves: learning curves of scikit-learn's perceptrons, for the same comparison
- simulator: searches in simulated time
- surrogate: learning curves of any configuration, predicted from real ones
- curve_table: measures the real curves in ``benchmarks/curves``
- validate_surrogate: trains the best configurations of simulated searches for real
"""
