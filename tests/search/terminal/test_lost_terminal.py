"""A whole search whose reader goes away after its first line."""

from __future__ import annotations

import subprocess
from pathlib import Path

from search import run_folder
from search.record import record
from tests.helpers.commands import search_command
from tests.helpers.toy_study import write_home


def test_a_search_without_a_reader_goes_on_to_its_end(tmp_path: Path) -> None:
    home = write_home(tmp_path / "home", epochs=2)
    command = search_command(
        *("--data-dir", "data", "--space", "space.toml", "--study", "s", "--trials", "2", "--workers", "1")
    )
    with (
        (home / "errors.txt").open("w+b") as errors,
        subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline().startswith("study   s")
        process.stdout.close()
    assert process.returncode == 0, (home / "errors.txt").read_text(encoding="utf-8")
    folder = home / "runs" / "s"
    assert record.counts(record.read_record(folder))["running"] == 0
    log = (folder / run_folder.TERMINAL_LOG).read_text(encoding="utf-8")
    for part in ("trial 0 complete", "trial 1 ", "report  runs/s/report.html"):
        assert part in log
