"""Search efficiency: which method finds the best configuration per hour, in simulated time.

- command: the comparison, ``python -m benchmarks.efficiency``
- page, summaries: its page and picture, and the statistics in them
- run_study: one study, its search and its race of finalists
- baselines, ablations: the methods that are compared
- simulator: searches in simulated time
- surrogate: learning curves of any configuration, predicted from real ones
- curve_table: measures the real curves in ``benchmarks/curves``
- validate_surrogate: trains the best configurations of simulated searches for real
"""
