"""Corpora: what a dataset is, how it is stored, and how the open features are made."""
