"""docs/own-corpus.md, run as it is written, in a folder of its own."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from rigsl.cli.main import main
from rigsl.data.own.columns import USUAL_NAMES, normal
from search.run_folder import ROOT

PAGE = (ROOT / "docs" / "own-corpus.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_example_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    names: dict[str, object] = {}
    blocks = BLOCK.findall(PAGE)
    assert [kind for kind, _ in blocks] == ["python", "sh", "sh", "python"]
    for kind, text in blocks:
        if kind == "python":
            exec(compile(text, "docs/own-corpus.md", "exec"), names)
            continue
        for line in text.splitlines():
            assert main(shlex.split(line)[3:]) == 0
    shown = capsys.readouterr().out
    assert "TALKS: 120 utterances of 20 dialogues, in data/TALKS.safetensors" in shown
    assert "audio: [8], float16, given, standardised on train" in shown
    assert "weighted F1" in shown
    assert (tmp_path / "talks.png").is_file()


def test_the_columns_of_the_page_are_found() -> None:
    section = PAGE.split("\n## Transcripts\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\w+(?:, \w+)*) \| ([\w, ;]+) \|", section, re.MULTILINE)
    found = [pair for cells in rows for pair in zip(cells[0].split(", "), cells[1].split("; "), strict=True)]
    assert {meaning for meaning, _ in found} == set(USUAL_NAMES)
    for meaning, names in found:
        assert {normal(name) for name in names.split(", ")} <= set(USUAL_NAMES[meaning]), meaning
