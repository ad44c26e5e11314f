"""The public Python API: `import rigsl` and its help tell what there is, fast, and the example in it runs."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import rigsl
from tests.helpers.corpora import toy_corpus

ROOT = Path(__file__).parents[2]


def python(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_import_needs_neither_torch_nor_numpy() -> None:
    code = "import sys, rigsl; dir(rigsl); sys.exit(bool({'torch', 'numpy', 'pandas'} & sys.modules.keys()))"
    assert python("-c", code).returncode == 0


@pytest.mark.parametrize("name", rigsl.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert name in dir(rigsl)
    assert getattr(rigsl, name).__doc__


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'rigsl' has no attribute 'fitted'"):
        _ = rigsl.fitted  # type: ignore[attr-defined]


def test_help_shows_the_functions_with_their_arguments() -> None:
    shown = python("-c", "import rigsl; help(rigsl)").stdout
    for name in rigsl.__all__:
        assert f"    {name}(" in shown or f"class {name}(" in shown, name
    assert "import rigsl" in shown


def test_the_example_in_the_docstring_runs_as_a_script(tmp_path: Path) -> None:
    assert rigsl.__doc__ is not None
    _, after = rigsl.__doc__.split("::\n\n", 1)
    lines = after.splitlines()
    end = next(number for number, line in enumerate(lines) if line and not line.startswith("    "))
    (tmp_path / "example.py").write_text(textwrap.dedent("\n".join(lines[:end])), encoding="utf-8")
    (tmp_path / "data").mkdir()
    corpus = toy_corpus()
    corpus.save(tmp_path / "data" / "meld_open.safetensors")
    done = python("example.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    *epochs, scores, predicted = done.stdout.splitlines()
    assert [line.split()[0] for line in epochs] == [str(number) for number in range(1, 11)]
    assert scores.startswith("Scores(weighted_f1=")
    assert predicted.count("class") == 5
    assert sorted(path.name for path in (tmp_path / "models" / "first").iterdir()) == [
        "config.toml",
        "model.safetensors",
    ]
