"""Runs the search of a checkout and notes when it passes its milestones; started by first_trial.py.

``python milestones.py ROOT FILE ARGUMENT ...``: `run_search.py` of the checkout ROOT with these arguments;
FILE gets a line for each milestone, its name and the time. It imports nothing of the project itself, so that
it measures any version of it, and no module before the search imports it.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import runpy
import sys
import time
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

#: module -> (function or method in it, milestone at its first call, milestone at its first return).
FUNCTIONS = {
    "search.plan.new_study": ("prepare", "plan begun", "plan made"),
    "search.study": ("run", "study begun", ""),
    "ray": ("init", "Ray begun", "Ray started"),
    "ray.tune": ("run", "Ray Tune begun", ""),
    "search.execution.searcher": ("StudySearcher.suggest", "", "first proposal"),
}


class Milestones(MetaPathFinder):
    """Notes the calls of FUNCTIONS, from the moment at which their modules are imported.

    Args:
        path: the file that gets the lines.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._noted: set[str] = set()

    def note(self, name: str) -> None:
        """Write a milestone, the first time."""
        if name and name not in self._noted:
            self._noted.add(name)
            with open(self.path, "a", encoding="utf-8") as file:  # noqa: PTH123 (pathlib is not imported yet)
                file.write(f"{name}\t{time.time()}\n")

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Python imports `name`: if it is one of FUNCTIONS, watch its function."""
        if name not in FUNCTIONS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_watch(module: ModuleType) -> None:
            execute(module)
            self._watch(module, *FUNCTIONS[name])

        spec.loader.exec_module = execute_and_watch  # type: ignore[method-assign]
        return spec

    def _watch(self, owner: Any, name: str, begin: str, end: str) -> None:
        *classes, function = name.split(".")
        for part in classes:
            owner = getattr(owner, part)
        setattr(owner, function, self._noting(getattr(owner, function), begin, end))

    def _noting(self, function: Callable[..., Any], begin: str, end: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            self.note(begin)
            try:
                return function(*arguments, **options)
            finally:
                self.note(end)

        return call


if __name__ == "__main__":
    root, file, *arguments = sys.argv[1:]
    sys.path[0] = root
    sys.argv = [f"{root}/run_search.py", *arguments]
    sys.meta_path.insert(0, Milestones(file))
    runpy.run_path(sys.argv[0], run_name="__main__")
