"""Which rules of selection win on data that nobody has seen: trainings on pseudo-tests cut out of train.

The training dialogues are cut into four quarters. Each is a pseudo-test once, and the other three are its
train and its folds; dev is the real one. ``python -m benchmarks.selection`` makes the trainings. Predictions
of the test split are kept apart, for a final comparison alone.
"""
