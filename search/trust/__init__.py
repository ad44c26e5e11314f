"""Can a search be trusted? Computed from its record before test is opened; nothing here reads a test label.

- variance: variance components of the finalists' scores, and their shrunken means.
- dialogues: sampling noise of a score over dialogues, and scores under another class prior.
- priors: class frequencies of train and dev, and whether they differ by more than chance.
- surrogate: leave-one-out fit of the Gaussian process.
- overtuning: the best score so far on validation against what the finals say of the same trials.
- evidence: what the final stage knows before test is opened.
- expectation: the expected test score with its interval, and how far the tested score was off.
- checks: each with its figure, pass or warn, and one sentence of advice.
- assess: all of it, as a `TrustRecord`.
- trust_record: what ``final.json`` keeps.
"""
