"""Learning curves: where the trainings of a study will end.

- progress: how far a training has come, in comparable units: its optimiser steps, learning rate, averaging.
- model: the prediction of every trial's end from the curves of all.
"""
