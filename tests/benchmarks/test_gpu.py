"""``python -m benchmarks.gpu``: its rows survive, its page says what they are, a failure is recorded."""

import argparse
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.gpu import command, parity
from benchmarks.gpu.command import main, options, run_part
from benchmarks.gpu.context import Context
from benchmarks.gpu.golden import recorded_files
from benchmarks.gpu.page import PARTS, render
from benchmarks.gpu.results import Results, Row

MACHINE = {"processor": "a CPU", "cores": 2, "torch": "2.13.0", "gpu": "a GPU", "commit": "0123456789abcdef"}


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "runs" / "gpu.jsonl")


@pytest.fixture
def chosen(tmp_path: Path, results: Results) -> argparse.Namespace:
    return options(
        ["--device", "cpu", "--quick", "--out", str(tmp_path / "gpu.md"), "--results", str(results.path)]
    )


def test_every_part_has_rows_and_a_limit() -> None:
    assert list(command.SECONDS) == list(PARTS)
    assert sum(command.SECONDS.values()) < 9 * 60
    for name in PARTS:
        assert callable(importlib.import_module(f"benchmarks.gpu.{name}").rows)


def test_a_part_that_is_run_again_replaces_its_rows_and_no_other(results: Results) -> None:
    for part, value in (("speed", "1"), ("memory", "2"), ("speed", "3")):
        results.begin(part, MACHINE)
        results.add(part, Row("a row", {"x": value}))
        results.end(part, 1.0)
    read = results.read()
    assert {name: [row.values["x"] for row in part.rows] for name, part in read.items()} == {
        "memory": ["2"],
        "speed": ["3"],
    }


def test_rows_survive_a_kill_in_the_middle_of_a_line(results: Results) -> None:
    results.begin("speed", MACHINE)
    results.add("speed", Row("before", {"ms": "1"}))
    with results.path.open("a", encoding="utf-8") as file:
        file.write('{"row": "speed", "name": "ha')
    assert [row.name for row in results.read()["speed"].rows] == ["before"]
    assert "cut off after 1 row" in render(results.read())
    results.begin("memory", MACHINE)
    results.add("memory", Row("after"))
    assert [row.name for row in results.read()["memory"].rows] == ["after"]


def test_the_page_has_a_table_for_each_part(results: Results) -> None:
    results.begin("packing", MACHINE)
    results.add("packing", Row("1 trial", {"rate": "10"}))
    results.add("packing", Row("2 trials", note="not | measured"))
    results.end("packing", 12.3)
    results.begin("parity", MACHINE)
    results.add("parity", Row("first", {"difference": "0"}, ok=True))
    results.add("parity", Row("second", {"difference": "1"}, ok=False))
    results.end("parity", 1.0, "RuntimeError: no more")
    page = render(results.read())
    assert page.index(PARTS["parity"][0]) < page.index(PARTS["packing"][0]), "in the order of the parts"
    assert page.count("a GPU; a CPU, 2 cores; torch 2.13.0; commit 0123456789ab.") == 1
    assert (
        "|  | rate | note |\n| --- | --: | --- |\n| 1 trial | 10 |  |\n| 2 trials |  | not / measured |"
        in page
    )
    assert (
        "|  | difference | met |\n| --- | --: | --- |\n| first | 0 | yes |\n| second | 1 | **no** |" in page
    )
    assert "12 s." in page
    assert "failed: RuntimeError: no more" in page


def test_parts_of_different_machines_say_so(results: Results) -> None:
    for part, gpu in (("speed", "old"), ("memory", "new")):
        results.begin(part, MACHINE | {"gpu": gpu})
        results.end(part, 1.0)
    page = render(results.read())
    assert page.index("## A training step") < page.index("old; a CPU") < page.index("## The memory estimate")
    assert page.index("## The memory estimate") < page.index("new; a CPU")


def fails(context: Context) -> Iterator[Row]:
    yield Row("measured")
    raise ValueError("it went wrong\nin two lines")


def unmet(context: Context) -> Iterator[Row]:
    yield Row("a check", ok=False)


def works(context: Context) -> Iterator[Row]:
    assert context.scratch.is_dir()
    assert context.seconds_left() > 0
    yield Row("another", ok=True)


def test_a_part_that_fails_is_recorded_and_the_next_one_goes_on(
    chosen: argparse.Namespace, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"speed": fails, "memory": works}
    monkeypatch.setattr(command, "_part", parts.__getitem__)
    arguments = ["--parts", "speed,memory", "--device", "cpu", "--out", str(chosen.out)]
    assert main([*arguments, "--results", str(chosen.results)]) == 1
    read = results.read()
    assert [row.name for row in read["speed"].rows] == ["measured"]
    assert read["speed"].failure == "ValueError: it went wrong"
    assert [row.name for row in read["memory"].rows] == ["another"]
    page = chosen.out.read_text(encoding="utf-8")
    assert "failed: ValueError: it went wrong" in page
    assert "| another | yes |" in page
    assert "in fails" in results.path.read_text(encoding="utf-8"), "with the traceback"


@pytest.mark.parametrize(("option", "seconds"), [([], 80 * command.CPU_PATIENCE), (["--seconds", "7"], 7)])
def test_a_part_ends_after_its_own_limit_or_the_chosen_one(
    chosen: argparse.Namespace, monkeypatch: pytest.MonkeyPatch, option: list[str], seconds: float
) -> None:
    limits: list[float] = []

    def part(context: Context) -> Iterator[Row]:
        limits.append(context.ends - 1000.0)
        yield Row("a row")

    monkeypatch.setattr(command, "_part", lambda name: part)
    monkeypatch.setattr(command.time, "monotonic", lambda: 1000.0)
    where = ["--out", str(chosen.out), "--results", str(chosen.results)]
    assert main(["--parts", "speed", "--device", "cpu", *where, *option]) == 0
    assert limits == [seconds]


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf"])
def test_a_limit_that_is_no_time_is_refused(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--parts", "speed", "--device", "cpu", "--seconds", seconds]) == 2
    assert f"error: --seconds {seconds}: give a number above 0" in capsys.readouterr().err


def test_the_exit_code_is_that_of_the_parts_of_this_run(
    chosen: argparse.Namespace, results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {"speed": unmet, "memory": works}
    monkeypatch.setattr(command, "_part", parts.__getitem__)
    common = ["--device", "cpu", "--out", str(chosen.out), "--results", str(chosen.results)]
    assert main([*common, "--parts", "speed"]) == 1
    assert main([*common, "--parts", "memory"]) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--parts", "speed,sped"], "--parts sped: there is no such part"),
        (["--parts", ""], "there is no such part"),
        (["--device", "cpu", "--official", "/nowhere"], "has no model.py"),
    ],
)
def test_a_mistake_in_the_command_is_one_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    files = ["--out", str(tmp_path / "gpu.md"), "--results", str(tmp_path / "gpu.jsonl")]
    assert main([*arguments, *files]) == 2
    assert sentence in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_the_recorded_numbers_are_met_and_a_folder_without_them_is_skipped(tmp_path: Path) -> None:
    context = Context("cpu", True, tmp_path, 0.0)
    rows = list(parity._golden(context))
    assert len(rows) == sum(
        config is not None or "exponential_noise" in tensors
        for _, tensors, config in recorded_files(context.golden)
    )
    assert all(row.ok for row in rows)
    (row,) = parity._golden(Context("cpu", True, tmp_path, 0.0, golden=tmp_path))
    assert row.ok is None
    assert f"there is no .npz file in {tmp_path}" in row.note


def test_the_same_steps_are_taken_with_other_operations(tmp_path: Path) -> None:
    context = Context("cpu", True, tmp_path, 0.0)
    corpus = parity.meld_dialogues(12, validation=4)
    config = parity._config("GCN", "sparsemax", quick=True)
    assert [row.ok for row in parity._against_cpu("GCN", config, corpus, context)] == [True, True]
    assert parity._twice("GCN", config, corpus, context).ok


@pytest.mark.soak
def test_all_parts_run_on_the_cpu(chosen: argparse.Namespace, results: Results) -> None:
    for name in PARTS:
        run_part(name, command._part(name), chosen, results, Console())
    assert {name: part.failure for name, part in results.read().items()} == dict.fromkeys(PARTS, "")
    assert not [(part.name, row) for part in results.read().values() for row in part.rows if row.ok is False]
