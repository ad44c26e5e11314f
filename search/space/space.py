"""A search space: fixed values, searched parameters, start points, scheduler and budgets from a TOML file.

Everything in the file is checked when it is read; afterwards a `Space` yields only valid configurations.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rigsl.config import RIGSLConfig, checked, from_mapping, parse_toml, read_toml_text
from rigsl.data.source import spelled
from rigsl.errors import UserError
from search.space.budget import Budget, read_budget
from search.space.confirmation import VALIDATIONS, FinalOptions, read_final
from search.space.parameter import FORBIDDEN, Parameter, read_parameter
from search.space.schedule import Schedule, read_schedule

if TYPE_CHECKING:
    import optuna

SECTIONS = {"study", "fixed", "space", "start", "scheduler", "budget", "final"}


@dataclass(frozen=True)
class Space:
    """The search space of a study."""

    path: Path
    dataset: str  #: one of DATASETS, spelled as there, or the name of a corpus file
    features: str  #: "open" or "official"
    validation: str | None  #: one of VALIDATIONS; None: what the corpus allows
    fixed: Mapping[str, Any]
    parameters: Mapping[str, Parameter]  #: in the order of the file: a condition refers to earlier ones
    starts: tuple[dict[str, Any], ...]  #: start points, tried first in this order; the first is the baseline
    schedule: Schedule
    budgets: Mapping[str, Budget]  #: "cpu" and "gpu"
    final: FinalOptions
    content_hash: str
    text: str = field(compare=False, repr=False)  #: TOML, as it is stored in a run folder

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """Draw the parameters whose conditions hold, in the order of the file (define-by-run)."""
        params: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            if parameter.active(params):
                params[name] = parameter.suggest(trial)
        return params

    def enqueue_starts(self, study: optuna.Study) -> None:
        """Make the start points the next trials of `study`, except those that it has had already."""
        for start in self.starts:
            study.enqueue_trial(start, skip_if_exists=True)

    def config(self, params: Mapping[str, Any], seed: int, **overrides: Any) -> RIGSLConfig:
        """A trial's configuration: the fixed values, `params`, the seed, and `overrides` from the options."""
        return from_mapping({**self.fixed, **params, "seed": seed, **overrides}, str(self.path))


def read_space(path: Path) -> Space:
    """Read and check a space file.

    Raises:
        UserError: the file is missing, is not TOML, or has a mistake; the sentence names file and key.
    """
    return parse_space(read_toml_text(path), path)


def parse_space(text: str, path: Path) -> Space:
    """Check a space that is given as text.

    Args:
        text: TOML.
        path: the file that it comes from, for the sentences about mistakes.

    Raises:
        UserError: it is not TOML, or has a mistake; the sentence names file and key.
    """
    content = parse_toml(text, path)
    if unknown := set(content) - SECTIONS:
        known = ", ".join(sorted(SECTIONS))
        raise UserError(f"{path}: unknown section [{min(unknown)}]; the sections are {known}")
    study = _table(content, "study", {"dataset", "features", "validation"}, path)
    fixed = _read_fixed(_table(content, "fixed", None, path), path)
    parameters = _read_parameters(_table(content, "space", None, path), fixed, path)
    space = Space(
        path=path,
        dataset=_dataset(study, path),
        features=_text(study, "features", path),
        validation=_validation(study, path),
        fixed=fixed,
        parameters=parameters,
        starts=_read_starts(content.get("start", []), parameters, path),
        schedule=read_schedule(_table(content, "scheduler", None, path), path),
        budgets={
            kind: read_budget(table, f"{path}: [budget.{kind}]")
            for kind, table in _table(content, "budget", {"cpu", "gpu"}, path).items()
        },
        final=read_final(content.get("final", {}), f"{path}: [final]"),
        content_hash=hashlib.sha256(json.dumps(content, sort_keys=False).encode()).hexdigest()[:12],
        text=text,
    )
    space.config(space.starts[0] if space.starts else {}, seed=0)
    return space


def _table(content: dict[str, Any], name: str, keys: set[str] | None, path: Path) -> dict[str, Any]:
    table = content.get(name, {})
    if not isinstance(table, dict):
        raise UserError(f"{path}: {name} is not a table [{name}]")
    if keys is not None and (unknown := set(table) - keys):
        raise UserError(
            f"{path}: [{name}] {min(unknown)}: unknown key; the keys are {', '.join(sorted(keys))}"
        )
    return table


def _text(study: dict[str, Any], key: str, path: Path) -> str:
    if not isinstance(study.get(key), str) or not study[key]:
        raise UserError(f"{path}: [study] {key}: is missing or not a text")
    return str(study[key])


def _validation(study: dict[str, Any], path: Path) -> str | None:
    value = study.get("validation")
    if value is not None and value not in VALIDATIONS:
        raise UserError(f"{path}: [study] validation: {value!r} is not one of {', '.join(VALIDATIONS)}")
    return value


def _dataset(study: dict[str, Any], path: Path) -> str:
    """The dataset's name; a space file may give it in any case, like ``--dataset``."""
    text = _text(study, "dataset", path)
    try:
        return spelled(text)
    except UserError as error:
        raise UserError(f"{path}: [study] dataset: {error}") from None


def _read_fixed(table: dict[str, Any], path: Path) -> dict[str, Any]:
    if "seed" in table:
        raise UserError(f"{path}: [fixed] seed: {FORBIDDEN['seed']}")
    config = from_mapping(table, f"{path}: [fixed]")
    return {name: getattr(config, name) for name in table}


def _read_parameters(table: dict[str, Any], fixed: dict[str, Any], path: Path) -> dict[str, Parameter]:
    parameters: dict[str, Parameter] = {}
    for name, entry in table.items():
        where = f"{path}: [space.{name}]"
        if name in fixed:
            raise UserError(f"{where}: {name} is in [fixed], too; remove one of the two")
        parameter = read_parameter(name, entry, where)
        for other, values in (parameter.when or {}).items():
            if other not in parameters:
                raise UserError(f"{where}.when: '{other}' is not a parameter listed before {name}")
            for value in values:
                if not parameters[other].contains(value):
                    raise UserError(f"{where}.when: {value!r} is not a value that {other} can take")
        parameters[name] = parameter
    if not parameters:
        raise UserError(f"{path}: [space] has no parameter; there is nothing to search")
    return parameters


def _read_starts(starts: Any, parameters: dict[str, Parameter], path: Path) -> tuple[dict[str, Any], ...]:
    if not isinstance(starts, list) or not all(isinstance(start, dict) for start in starts):
        raise UserError(f"{path}: start is not a list of tables [[start]]")
    return tuple(
        _read_start(start, parameters, f"{path}: [[start]] {index}")
        for index, start in enumerate(starts, start=1)
    )


def _value(name: str, value: Any, where: str) -> Any:
    """A value of a start point; modalities as `RIGSLConfig` writes them, which a list may name."""
    if name != "modals":
        return value
    try:
        return checked(name, value)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _read_start(start: dict[str, Any], parameters: dict[str, Parameter], where: str) -> dict[str, Any]:
    point: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if not parameter.active(point):
            if name in start:
                raise UserError(f"{where}: {name} must be left out: its condition (when) does not hold here")
            continue
        if name not in start:
            raise UserError(f"{where}: {name} is missing; a start point gives a value to every parameter")
        value = _value(name, start[name], where)
        if not parameter.contains(value):
            raise UserError(f"{where}: {name} = {value!r} is outside {parameter.describe()}")
        point[name] = float(value) if parameter.kind == "float" else value
    if unknown := set(start) - set(parameters):
        raise UserError(f"{where}: '{min(unknown)}' is not a parameter of [space]")
    return point
