"""Which rules of selection win on data that nobody has seen: trainings on pseudo-tests cut out of train.

The training dialogues are cut into four quarters. Each is a pseudo-test once, and the other three are its
train and its folds; dev is the real one. ``python -m benchmarks.selection trainings`` makes the trainings,
docs/selection.md shows what they say. The test split is opened for the final comparison alone.
"""
