"""Benchmarks: the cost of training and searching (`speed`), and the quality of searches (`efficiency`).

corpora: synthetic corpora with the shapes of MELD and IEMOCAP. ``curves/``: measured learning curves.
"""
