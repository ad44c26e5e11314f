"""One searched hyperparameter: its range or choices, its condition and prior, and how Optuna draws it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rigsl.config import FIELDS, as_float, checked
from rigsl.errors import UserError
from search.space.prior import DEFAULT_CONFIDENCE, Prior

if TYPE_CHECKING:
    import optuna

KINDS = {
    "float": {"type", "low", "high", "log", "step", "when", "prior", "confidence"},
    "int": {"type", "low", "high", "log", "step", "when", "prior", "confidence"},
    "choice": {"type", "values", "when", "prior", "confidence"},
}
#: Hyperparameters that cannot be searched, and why.
FORBIDDEN = {
    "seed": "the luckiest seed would win; set it with --seed",
    "epochs": "trials are compared epoch by epoch; set it in [fixed] or with --epochs",
}


@dataclass(frozen=True)
class Parameter:
    """A searched hyperparameter."""

    name: str
    kind: str  #: "float", "int" or "choice"
    low: float | int = 0
    high: float | int = 0
    log: bool = False
    step: float | int | None = None
    values: tuple[Any, ...] = ()
    when: Mapping[str, tuple[Any, ...]] | None = None  #: condition: earlier parameter -> allowed values
    prior: Prior | None = None  #: what is believed about its best value

    def active(self, params: Mapping[str, Any]) -> bool:
        """Whether this parameter's condition holds, given the `params` drawn before it."""
        return all(name in params and params[name] in allowed for name, allowed in (self.when or {}).items())

    def suggest(self, trial: optuna.trial.BaseTrial) -> Any:
        """This parameter's value in `trial`."""
        if self.kind == "choice":
            return trial.suggest_categorical(self.name, self.values)
        if self.kind == "int":
            return trial.suggest_int(
                self.name, int(self.low), int(self.high), step=int(self.step or 1), log=self.log
            )
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    def contains(self, value: Any) -> bool:
        """Whether `value` is one that this parameter can take."""
        if self.kind == "choice":
            return any(value == other and type(value) is type(other) for other in self.values)
        if isinstance(value, bool) or not isinstance(value, int if self.kind == "int" else (int, float)):
            return False
        if not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return math.isclose(steps, round(steps), abs_tol=1e-9)

    def clip(self, value: float) -> Any:
        """The valid value of a range that is nearest to `value`, as its own type: an int or a float.

        Clamped into [low, high], then rounded to the nearest step from low; exactly between two steps, to the
        even one. A choice has no order and is not clipped.
        """
        clipped = min(max(value, self.low), self.high)
        if self.step:
            clipped = self.low + self.step * round((clipped - self.low) / self.step)
        # low + n * step can lie a rounding error above high, which `contains` would refuse.
        return round(clipped) if self.kind == "int" else min(float(clipped), float(self.high))

    def describe(self) -> str:
        """The range in words: ``3e-05 to 0.001 (log)``, ``8, 16 or 32``."""
        if self.kind == "choice":
            return ", ".join(map(repr, self.values))
        scale = " (log)" if self.log else f" in steps of {self.step:g}" if self.step else ""
        return f"{self.low:g} to {self.high:g}{scale}"


def read_parameter(name: str, table: Any, where: str) -> Parameter:
    """The parameter in the TOML table ``[space.NAME]``.

    Raises:
        UserError: an unknown name or key, an empty range, bounds outside those of the hyperparameter, or a
            prior that is no value of the parameter.
    """
    if name not in FIELDS:
        raise UserError(f"{where}: '{name}' is not a hyperparameter of RIGSL; rigsl/config.py lists them")
    if name in FORBIDDEN:
        raise UserError(f"{where}: {name} cannot be searched: {FORBIDDEN[name]}")
    if not isinstance(table, dict) or table.get("type") not in tuple(KINDS):
        raise UserError(f"{where}: needs type = 'float', 'int' or 'choice'")
    kind = table["type"]
    if unknown := set(table) - KINDS[kind]:
        keys = ", ".join(sorted(KINDS[kind]))
        raise UserError(f"{where}: unknown key '{min(unknown)}' for type '{kind}'; the keys are {keys}")
    when = _read_when(table.get("when"), where)
    if kind == "choice":
        parameter = Parameter(name, kind, values=_read_values(name, table.get("values"), where), when=when)
    else:
        parameter = _read_range(name, kind, table, when, where)
    return dataclasses.replace(parameter, prior=_read_prior(parameter, table, where))


def _read_values(name: str, values: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(values, list) or not values:
        raise UserError(f"{where}.values: is not a list with at least one value")
    choices = tuple(_checked(name, value, f"{where}.values") for value in values)
    if len(set(choices)) < len(choices):
        raise UserError(f"{where}.values: a value is listed twice")
    return choices


def _read_range(
    name: str, kind: str, table: dict[str, Any], when: dict[str, tuple[Any, ...]] | None, where: str
) -> Parameter:
    bounds = {}
    for key in ("low", "high"):
        value = table.get(key)
        if isinstance(value, bool) or not isinstance(value, int if kind == "int" else (int, float)):
            raise UserError(f"{where}.{key}: is missing or not a {'whole ' if kind == 'int' else ''}number")
        bounds[key] = _checked(name, value, f"{where}.{key}")
    low, high, log, step = bounds["low"], bounds["high"], table.get("log", False), table.get("step")
    if low >= high:
        raise UserError(f"{where}: low = {low} is not below high = {high}; put a single value into [fixed]")
    if not isinstance(log, bool):
        raise UserError(f"{where}.log: is not true or false")
    if log and low <= 0:
        raise UserError(f"{where}.low: {low} is not above 0, as log = true needs")
    if step is not None:
        _check_step(kind, low, high, log, step, where)
    parameter = Parameter(name, kind, low, high, log, step, when=when)
    if kind == "int" and high - low <= 100_000:
        for value in range(int(low), int(high) + 1, int(step or 1)):
            _checked(name, value, where)
    return parameter


def _check_step(kind: str, low: float, high: float, log: bool, step: Any, where: str) -> None:
    number = int if kind == "int" else (int, float)
    if isinstance(step, bool) or not isinstance(step, number) or not step > 0:
        raise UserError(f"{where}.step: is not a {'whole ' if kind == 'int' else ''}number above 0")
    if log:
        raise UserError(f"{where}.step: cannot be combined with log = true")
    steps = (high - low) / as_float(step)
    if not (0.5 <= steps < math.inf and math.isclose(steps, round(steps), abs_tol=1e-9)):
        raise UserError(f"{where}.step: steps of {step} from {low} do not reach high = {high}")


def _read_prior(parameter: Parameter, table: dict[str, Any], where: str) -> Prior | None:
    if "prior" not in table:
        if "confidence" in table:
            raise UserError(f"{where}.confidence: there is no prior that it is about; add prior or remove it")
        return None
    value = table["prior"]
    as_stored = _checked(parameter.name, value, f"{where}.prior")
    if parameter.kind != "int":  # a choice's values and floats are as they are stored
        value = as_stored
    if not parameter.contains(value):
        raise UserError(f"{where}.prior: {value!r} is not within {parameter.describe()}")
    try:
        return Prior(value, table.get("confidence", DEFAULT_CONFIDENCE))
    except UserError as error:
        raise UserError(f"{where}.confidence: {error}") from None


def _read_when(when: Any, where: str) -> dict[str, tuple[Any, ...]] | None:
    if when is None:
        return None
    if not isinstance(when, dict) or not when:
        raise UserError(f"{where}.when: is not a table like {{ use_gumbel = true }}")
    return {name: tuple(value) if isinstance(value, list) else (value,) for name, value in when.items()}


def _checked(name: str, value: Any, where: str) -> Any:
    try:
        return checked(name, value)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
