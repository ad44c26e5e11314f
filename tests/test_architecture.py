"""Imports point one way: run_search -> search -> rigsl."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from search.run_folder import ROOT


def imported(path: Path) -> set[str]:
    """Top-level names of all packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize(
    "path", sorted((ROOT / "rigsl").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_the_model_knows_nothing_of_the_search(path: Path) -> None:
    assert not imported(path) & {"ray", "optuna", "mlflow", "search", "run_search"}


@pytest.mark.parametrize("path", sorted((ROOT / "search").glob("*.py")), ids=lambda path: path.name)
def test_the_search_knows_nothing_of_its_command_line(path: Path) -> None:
    assert "run_search" not in imported(path)


def test_the_command_line_knows_the_search_only() -> None:
    assert imported(ROOT / "run_search.py") & {"ray", "optuna", "mlflow", "torch"} == set()


def test_help_needs_neither_torch_nor_ray() -> None:
    code = "import sys, run_search; run_search.parser(); print({'torch', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
