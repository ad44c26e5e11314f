"""Studies side by side: with paired tests where these are possible, and otherwise without."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from rigsl.errors import UserError
from search.confirm import summary
from search.report.comparison import compare_studies, study_rows
from search.report.comparison_page import write_comparison
from search.report.facts import write_facts
from search.terminal.comparison import print_comparison
from tests.helpers.run_folders import (
    make_final,
    make_plan,
    make_runs,
    make_study,
    save_predictions,
    tiny_corpus,
)
from tests.helpers.toy_study import SPACE, make_corpus
from tests.search.report.test_report import without_plotly, words


def make_run(runs: Path, name: str, *, skills: tuple[float, float] = (0.7, 0.5), **options) -> Path:
    """A study with its final stage; `skills` of winner and baseline."""
    plan = make_plan(runs, name, **options)
    study = make_study(plan, "cpc", seed=len(name))
    make_final(plan, study, skills=skills)
    write_facts(plan.folder, plan.corpus, plan.features, None)
    return plan.folder


def test_studies_of_one_corpus_are_paired(tmp_path: Path) -> None:
    folders = [
        make_run(tmp_path, name, skills=(skill, 0.4)) for name, skill in (("a", 0.9), ("bb", 0.4), ("c", 0.9))
    ]
    comparison = compare_studies(folders)
    winners = [make_runs(tiny_corpus(), (11, 12, 13), skill, 5) for skill in (0.9, 0.4)]
    expected = summary.compare(*winners)
    assert comparison.pairs[0].tests == expected
    assert comparison.pairs[0].remark == ""
    assert comparison.test_count == 3
    assert comparison.corrected(comparison.pairs[0]) == pytest.approx(3 * expected.bootstrap.p)
    assert comparison.pairs[1].p == comparison.corrected(comparison.pairs[1]) == 1  # a and c predict the same
    shares = [
        [
            (runs.predicted[:, a:b] == runs.labels[a:b]).mean()
            for a, b in zip(runs.offsets, runs.offsets[1:], strict=False)
        ]
        for runs in winners
    ]
    wilcoxon = stats.wilcoxon(np.round(np.subtract(*shares), 12))
    assert comparison.pairs[0].tests.wilcoxon_over_dialogues.p == pytest.approx(wilcoxon.pvalue)


def test_a_comparison_is_printed_and_written(tmp_path: Path) -> None:
    gat = SPACE.format(epochs=6).replace("[fixed]", '[fixed]\nbackbone = "GAT"')
    folders = [make_run(tmp_path, "one", skills=(0.9, 0.4)), make_run(tmp_path, "two", space=gat)]
    printed = io.StringIO()
    print_comparison(compare_studies(folders), Console(file=printed, width=300))
    out = write_comparison(compare_studies(folders), tmp_path / "comparison.html")
    page = out.read_text(encoding="utf-8")
    gap = compare_studies(folders).pairs[0].tests.bootstrap.interval.value
    for text in (printed.getvalue(), words(page)):
        for part in ("MELD-tiny", "M3Net", "GAT", "one minus two", f"{100 * gap:+.2f}", "selects on test"):
            assert part in text, part
    assert "Not drawn" not in words(page)
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#)|@import|url\(|https?:""", without_plotly(page))


def test_other_data_and_other_utterances_are_not_tested_against_each_other(tmp_path: Path) -> None:
    first = make_run(tmp_path, "one")
    other = make_run(tmp_path, "other", corpus=make_corpus(seed=1))
    third = make_run(tmp_path, "iemocap")
    options = (third / "study.toml").read_text(encoding="utf-8").replace('"MELD"', '"IEMOCAP"')
    (third / "study.toml").write_text(options, encoding="utf-8")
    comparison = compare_studies([first, other, third])
    assert [pair.tests for pair in comparison.pairs] == [None] * 3
    assert [pair.remark for pair in comparison.pairs] == [
        "not tested on the same utterances",
        "different datasets: MELD-tiny and MELD-tiny",
        "different datasets: MELD-tiny and MELD-tiny",
    ]
    out = write_comparison(compare_studies([first, other]), tmp_path / "comparison.html")
    text = words(out.read_text(encoding="utf-8"))
    assert "No paired test is possible between these studies." in text
    interval = json.loads((first / "final.json").read_text(encoding="utf-8"))["test"]["winner"]["interval"]
    assert f"{100 * interval['low']:.2f} to {100 * interval['high']:.2f} %" in text


def test_the_same_utterances_with_other_features_are_paired_and_it_is_said(tmp_path: Path) -> None:
    folders = [make_run(tmp_path, "one"), make_run(tmp_path, "two")]
    options = (folders[1] / "study.toml").read_text(encoding="utf-8")
    (folders[1] / "study.toml").write_text(
        re.sub(r'corpus = ".*"', 'corpus = "00"', options), encoding="utf-8"
    )
    pair = compare_studies(folders).pairs[0]
    assert pair.p is not None
    assert "different features" in pair.remark


def test_a_study_without_a_test_is_shown_with_what_it_has(tmp_path: Path) -> None:
    whole, plan = make_run(tmp_path, "whole"), make_plan(tmp_path, "searched")
    make_study(plan, "cf")
    empty = make_plan(tmp_path, "empty")
    make_study(empty, "")
    comparison = compare_studies([whole, plan.folder, empty.folder])
    assert [pair.remark for pair in comparison.pairs] == [
        "no recorded predictions of searched",
        "no recorded predictions of empty",
        "no recorded predictions of searched and empty",
    ]
    rows = study_rows(comparison)
    assert rows[1][6:] == rows[2][5:6] * 5
    out = write_comparison(compare_studies([plan.folder, empty.folder]), tmp_path / "c.html")
    text = words(out.read_text(encoding="utf-8"))
    assert "None of them was tested." in text
    assert "None of 0 trials finished an epoch" in text


def test_a_second_opening_is_said_beside_the_test_score(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, "twice")
    make_final(plan, make_study(plan, "cc"), openings=2)
    comparison = compare_studies([plan.folder, make_run(tmp_path, "once")])
    assert [row[7] for row in study_rows(comparison)] == ["2 times (!)", "once"]


def test_names_are_told_apart_and_one_study_is_no_comparison(tmp_path: Path) -> None:
    folders = [make_run(tmp_path / "left", "same"), make_run(tmp_path / "right", "same")]
    assert [study.label for study in compare_studies(folders).studies] == ["left/same", "right/same"]
    with pytest.raises(UserError, match="two studies"):
        compare_studies(folders[:1])
    with pytest.raises(UserError, match="twice"):
        compare_studies([folders[0], folders[0]])


def test_predictions_that_are_recorded_are_those_that_are_compared(tmp_path: Path) -> None:
    folders = [make_run(tmp_path, "one"), make_run(tmp_path, "two")]
    better = make_runs(tiny_corpus(), (1, 2), 1.5, 0)
    save_predictions(folders[1], better, better)
    assert compare_studies(folders).pairs[0].tests.bootstrap.interval.value < 0
