"""Imports point one way: run_search -> search -> rigsl; within each, from later packages to earlier ones.

Every import counts: those for type checking and those inside functions, too.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from search.run_folder import ROOT

#: A package or top-level module imports only those on earlier lines (or itself).
SEARCH = [
    {"run_folder"},
    {"command_lines"},
    {"space"},
    {"record"},
    {"resources"},
    {"samplers"},
    {"schedulers"},
    {"plan"},
    {"execution"},
    {"trust"},
    {"confirm"},
    {"export"},
    {"tracking"},
    {"report"},
    {"results"},
    {"terminal"},
    {"study"},
    {"cli"},
    {""},  # search/__init__.py: the public Python API
]
RIGSL = [
    {"home", "interruption", "redaction", "pictures", "wording"},
    {"errors", "registry", "console", "shell"},
    {"files", "modalities"},
    {"config"},
    {"device"},
    {"precisions"},
    {"data"},
    {"model"},
    {"training"},
    {"memory", "official", "inference"},
    {"cli", "served"},
    {"__main__", ""},
]
#: Of product code, in one folder.
MOST_MODULES = 20
PRODUCTS = ("search", "rigsl", "benchmarks")


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file, of all product code."""
    files = [path for product in PRODUCTS for path in (ROOT / product).rglob("*.py")]
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in files}
    return {name.removesuffix(".__init__"): path for name, path in names.items()} | {
        "run_search": ROOT / "run_search.py"
    }


@cache
def imported(path: Path) -> frozenset[str]:
    """The dotted names of all that a file imports, anywhere in it; of our own code, modules."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None, f"{path}: a relative import"
            assert not node.level, f"{path}: a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in modules() else node.module for name in inner}
    return frozenset(names)


def packages_of(path: Path) -> set[str]:
    """Top-level names of what a file imports."""
    return {name.split(".")[0] for name in imported(path)}


def package(name: str, product: str) -> str:
    """The package, or the top-level module, of `product` that a module belongs to."""
    return "" if name == product else name.split(".")[1]


def edges(product: str) -> Iterator[tuple[str, str]]:
    """Importing and imported module of every import inside `product`."""
    for name, path in modules().items():
        if name.split(".")[0] == product:
            yield from ((name, other) for other in imported(path) if other.split(".")[0] == product)


@pytest.mark.parametrize(("product", "floors"), [("search", SEARCH), ("rigsl", RIGSL)])
def test_packages_import_earlier_packages_only(product: str, floors: list[set[str]]) -> None:
    floor = {name: number for number, names in enumerate(floors) for name in names}
    unknown = {package(name, product) for name in modules() if name.split(".")[0] == product} - set(floor)
    assert not unknown, "packages without a place in the order"
    wrong = [
        f"{name} imports {other}"
        for name, other in edges(product)
        if (own := package(name, product)) != (used := package(other, product)) and floor[used] >= floor[own]
    ]
    assert wrong == []


@pytest.mark.parametrize("product", PRODUCTS)
def test_no_modules_import_each_other_in_a_circle(product: str) -> None:
    graph: dict[str, set[str]] = {}
    for name, other in edges(product):
        if other != name:
            graph.setdefault(name, set()).add(other)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_the_model_knows_nothing_of_the_search() -> None:
    for name, path in modules().items():
        if name.split(".")[0] == "rigsl":
            assert not packages_of(path) & {"ray", "optuna", "mlflow", "search", "run_search"}, name


def test_the_search_knows_nothing_of_its_command_line() -> None:
    for name, path in modules().items():
        if name.split(".")[0] == "search":
            assert not packages_of(path) & {"run_search", "benchmarks", "tests"}, name


def test_the_command_line_knows_the_search_only() -> None:
    assert not packages_of(ROOT / "run_search.py") & {"ray", "optuna", "mlflow", "torch"}


def test_no_folder_holds_too_many_modules() -> None:
    counts = Counter(path.parent for path in modules().values())
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}


@pytest.mark.parametrize("product", ["search", "rigsl"])
def test_tests_mirror_the_packages(product: str) -> None:
    folders = {path.name for path in (ROOT / "tests" / product).iterdir() if (path / "__init__.py").is_file()}
    packages = {path.name for path in (ROOT / product).iterdir() if (path / "__init__.py").is_file()}
    assert folders <= packages


def test_the_plan_of_a_study_needs_no_ray() -> None:
    code = (
        "import sys, search.cli, search.plan.new_study; print({'ray', 'pandas', 'mlflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_help_needs_neither_torch_nor_ray() -> None:
    code = "import sys, run_search; run_search.parser(); print({'torch', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
