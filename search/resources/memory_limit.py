"""Whether a configuration fits into a worker's memory, and how long it takes: told before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from rigsl.errors import UserError
from rigsl.memory import Shapes, estimate_epoch_seconds, estimate_peak_bytes
from search.space.parameter import Parameter
from search.space.space import Space


def excess(corpus: Corpus, device: str, room: int) -> Callable[[RIGSLConfig], float]:
    """How much a configuration exceeds `room` bytes: 0.5 is half as much again; 0 and below: it fits.

    Args:
        corpus: what is trained on; asked for its shapes alone.
        room: what a trial may take on its device; 0: not known, everything fits.
    """
    shapes = Shapes.of(corpus)

    def of(config: RIGSLConfig) -> float:
        return estimate_peak_bytes(config, shapes, device=device) / room - 1 if room else 0.0

    return of


def epoch_seconds(corpus: Corpus, device: str) -> Callable[[RIGSLConfig], float]:
    """The seconds of a configuration's epoch, by comparison; measured ones differ from run to run."""
    shapes = Shapes.of(corpus)
    return lambda config: estimate_epoch_seconds(config, shapes, device=device)


def largest(space: Space, corpus: Corpus, device: str) -> int:
    """Bytes that the most demanding configuration of `space` needs, found by making one parameter after the
    other as demanding as it can be."""
    shapes = Shapes.of(corpus)

    def need(params: Mapping[str, Any]) -> int:
        try:
            return estimate_peak_bytes(space.config(params, 0), shapes, device=device)
        except UserError:  # single values are checked with the space; some do not go together
            return -1

    def choose(name: str, parameter: Parameter, params: Mapping[str, Any]) -> Any:
        ends = parameter.values if parameter.kind == "choice" else (parameter.low, parameter.high)
        return max(ends, key=lambda value: need({**params, name: value}))

    params: dict[str, Any] = {}
    for _ in range(2):  # a choice made early is looked at again beside the later ones
        before, params = params, {}
        for name, parameter in space.parameters.items():
            if parameter.active(params):
                rest = {key: value for key, value in before.items() if key not in params}
                params[name] = choose(name, parameter, {**rest, **params})
    return need(params)
