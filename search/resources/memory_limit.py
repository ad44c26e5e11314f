"""Memory limit and relative cost of a configuration, estimated before it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.errors import UserError
from rigsl.memory import Shapes, estimate_epoch_seconds, estimate_peak_bytes
from search.space.parameter import Parameter
from search.space.space import Space


def excess(corpus: Corpus, device: str, limit: int) -> Callable[[RIGSLConfig], float]:
    """By which fraction a configuration's estimated memory exceeds `limit` bytes: 0.5 is 50 % above it.

    Args:
        corpus: the training data; only its shapes are used.
        device: "cpu" or "cuda".
        limit: memory limit of a trial on its device; 0: unknown, every configuration fits (0.0).
    """
    shapes = Shapes.of(corpus)

    def excess_of(config: RIGSLConfig) -> float:
        return estimate_peak_bytes(config, shapes, device=device) / limit - 1 if limit else 0.0

    return excess_of


def epoch_seconds(corpus: Corpus, device: str) -> Callable[[RIGSLConfig], float]:
    """Estimated seconds of a configuration's epoch, relative to others; measured times vary between runs."""
    shapes = Shapes.of(corpus)
    return lambda config: estimate_epoch_seconds(config, shapes, device=device)


def largest(space: Space, corpus: Corpus, device: str) -> int:
    """Bytes that the largest configuration of `space` needs: coordinate ascent over its parameters."""
    shapes = Shapes.of(corpus)

    def peak_bytes(params: Mapping[str, Any]) -> int:
        try:
            return estimate_peak_bytes(space.config(params, 0), shapes, device=device)
        except UserError:  # each value alone is valid, but some combinations are not
            return -1

    def best_value(name: str, parameter: Parameter, params: Mapping[str, Any]) -> Any:
        values = parameter.values if parameter.kind == "choice" else (parameter.low, parameter.high)
        return max(values, key=lambda value: peak_bytes({**params, name: value}))

    params: dict[str, Any] = {}
    for _ in range(2):  # the second pass revises early values, given the later ones
        before, params = params, {}
        for name, parameter in space.parameters.items():
            if parameter.active(params):
                later = {key: value for key, value in before.items() if key not in params}
                params[name] = best_value(name, parameter, {**later, **params})
    return peak_bytes(params)
