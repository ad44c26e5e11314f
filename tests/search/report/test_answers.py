"""Configuration, taught and average in the report and in comparisons; finalists that are scored on folds."""

import json
import re
from pathlib import Path

import pytest

from rigsl.wording import points
from search.confirm.final_record import TestRecord, read_final_record
from search.plan.plan import Plan
from search.report import importance
from search.report.comparison import compare_studies
from search.report.comparison_page import page
from search.report.facts import write_facts
from search.report.write import rebuild
from tests.helpers.run_folders import make_final, make_plan, make_study
from tests.search.report.test_report import words

BOTH = ("taught", "average")


@pytest.fixture(scope="module", autouse=True)
def _small_forests():
    """Seconds less, and the same results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importance, "TREES", 4)
        patch.setattr(importance, "SHUFFLES", 4)
        yield


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Plan, TestRecord]:
    """The report of a study with three answers, its plan, and its test scores."""
    plan = finished_study(tmp_path_factory.mktemp("runs"), answers=BOTH)
    test = read_final_record(plan.folder).test
    assert test is not None
    return html_of(plan), plan, test


def finished_study(runs: Path, name: str = "one", **options) -> Plan:
    """A study with its final stage."""
    plan = make_plan(runs, name)
    make_final(plan, make_study(plan, "ccpc"), **options)
    write_facts(plan.folder, plan.corpus, plan.features, None)
    return plan


def html_of(plan: Plan) -> str:
    """The report of a study."""
    return rebuild(plan.folder).read_text(encoding="utf-8")


def cells(page: str) -> dict[str, list[str]]:
    """First cell of every row of the tables of a page -> the others, of the first row with it."""
    rows = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall(r"<tr.*?</tr>", page)]
    found: dict[str, list[str]] = {}
    for first, *others in ([cell.replace("&nbsp;", " ") for cell in row] for row in rows):
        found.setdefault(first, others)
    return found


def test_the_answers_stand_side_by_side_in_one_table(three: tuple[str, Plan, TestRecord]) -> None:
    page, _, test = three
    rows = cells(page.partition('<section id="result">')[2])
    assert rows[""] == ["configuration", "taught", "average"]
    assert rows["what it is"][0] == "mean over 3 fresh seeds: comparable with the literature"
    records = (test, test.taught, test.average)
    gaps = [record.difference.bootstrap for record in records]
    assert rows["difference"] == [points(gap.interval.value) for gap in gaps]
    assert rows["paired bootstrap"] == [f"p = {gap.p:.3f}" for gap in gaps]
    for title, side in (("weighted F1, test", "winner"), ("baseline in the same form", "baseline")):
        means = [f"{100 * getattr(record, side).weighted_f1.mean:.2f}" for record in records]
        assert [cell.split()[0] for cell in rows[title]] == means
    assert "±" in rows["weighted F1, test"][1]
    assert "±" not in rows["weighted F1, test"][2], "an average is a single prediction"
    interval = test.average.winner.interval
    assert rows["95 % interval"][2] == f"{100 * interval.low:.2f} to {100 * interval.high:.2f} %"
    assert rows["parameters"] == ["123,456", "123,456", "1,481,472"]
    assert rows["ms an utterance"] == ["0.25", "0.25", "3.00"]
    text = words(page)
    assert "All 3 answers were fixed before test was opened, and were opened together; none is picked" in text
    assert "Not drawn" not in text
    assert '"baseline, taught, test"' in page, "the picture has them, too"


def test_the_claim_says_which_number_is_which(three: tuple[str, Plan, TestRecord]) -> None:
    page, _, test = three
    [claim] = re.findall(r'<p class="claim">(.*?)</p>', page)
    for part in (
        f"{100 * test.winner.weighted_f1.mean:.2f} ± ",
        "taught (the same configuration, taught by the out-of-fold average of 12 trainings: one model, same ",
        "average (mean probabilities of 12 trainings, 5 for the baseline), "
        f"{100 * test.average.winner.weighted_f1.mean:.2f}",
        f"{points(test.taught.difference.bootstrap.interval.value)} points against the baseline in the same",
        "The configuration&#x27;s score is the one to compare with the literature; no answer is picked by",
    ):
        assert part in claim.replace("&nbsp;", " "), part


def test_the_classes_have_the_f1_of_every_answer(three: tuple[str, Plan, TestRecord]) -> None:
    page, plan, test = three
    rows = cells(page.partition('<section id="classes">')[2])
    assert rows[""] == ["utterances", "winner", "baseline", "difference", "taught", "average"]
    average = test.average.winner
    name = plan.corpus.classes[0]
    assert rows[name][-1] == f"{100 * average.f1[name].mean:.2f} %"


def test_an_average_alone_needs_no_taught_model_and_no_baseline(tmp_path: Path) -> None:
    plan = finished_study(tmp_path, answers=("average",))
    page = html_of(plan)
    rows = cells(page.partition('<section id="result">')[2])
    assert rows[""] == ["configuration", "average"]
    assert rows["parameters"] == ["123,456", "1,481,472"]
    assert "Both answers were fixed before test was opened" in page
    content = json.loads((plan.folder / "final.json").read_text(encoding="utf-8"))
    for part in (content["test"], content["test"]["average"]):
        part |= {"baseline": None, "difference": None}
    (plan.folder / "final.json").write_text(json.dumps(content | {"baseline": None}), encoding="utf-8")
    page = html_of(plan)
    rows = cells(page.partition('<section id="result">')[2])
    assert rows["difference"] == rows["paired bootstrap"] == ["\u2013", "\u2013"]
    assert "Not drawn" not in words(page)


def test_a_study_with_the_configuration_alone_is_reported_without_answers(tmp_path: Path) -> None:
    text = words(html_of(finished_study(tmp_path)))
    for part in (
        "taught",
        "average of",
        "in the same form",
        "were opened together",
        "The configuration alone",
    ):
        assert part not in text
    page_of_two = words(page(compare_studies([finished_study(tmp_path, name).folder for name in ("a", "b")])))
    for part in ("taught", "answer", "folds"):
        assert part not in page_of_two


def test_a_second_opening_of_test_is_said_beside_every_answer(tmp_path: Path) -> None:
    page = html_of(finished_study(tmp_path, answers=BOTH, openings=2))
    rows = cells(page.partition('<section id="result">')[2])
    assert rows[""] == [f"{name} (test opened 2 times)" for name in ("configuration", *BOTH)]


def test_finalists_that_are_scored_on_folds_say_so_and_promise_no_selection_bias(tmp_path: Path) -> None:
    page = html_of(finished_study(tmp_path, folds=(0, 1, 2)))
    section = page.partition('<section id="finalists">')[2].partition("</section>")[0]
    rows, text = cells(section), words(section)
    assert rows[""] == [
        "configuration", "search score", "mean ± st. error", "fold 1", "fold 2", "fold 3", "state"
    ]  # fmt: skip
    assert "trained on the other folds of train, epoch chosen on dev, scored on the held-out fold" in text
    assert "selection bias" not in text.lower()
    assert "fresh seeds of every finalist" not in section
    assert "chosen without test, by the mean of 3 fresh seeds, each scored on a held-out fold" in page
    assert "chosen on validation alone" not in page
    assert "finalists on held-out folds of train" in page


def test_a_fold_that_is_held_out_twice_is_named_with_the_seed(tmp_path: Path) -> None:
    page = html_of(finished_study(tmp_path, folds=(0, 1, 0)))
    rows = cells(page.partition('<section id="finalists">')[2])
    assert rows[""][3:6] == ["fold 1, seed 21", "fold 2, seed 22", "fold 1, seed 23"]


def test_a_comparison_has_the_answers_of_every_study_that_has_them(tmp_path: Path) -> None:
    folders = [
        finished_study(tmp_path, name, **options).folder
        for name, options in (
            ("three", {"answers": BOTH, "folds": (0, 1, 2)}),
            ("plain", {}),
            ("two", {"answers": ("average",)}),
        )
    ]
    html = page(compare_studies(folders))
    section = html.partition('<section id="answers">')[2].partition("</section>")[0]
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row)[:2] for row in re.findall(r"<tr>.*?</tr>", section)]
    assert rows[1:] == [
        ["three", "configuration"], ["three", "taught"], ["three", "average"],
        ["two", "configuration"], ["two", "average"],
    ]  # fmt: skip
    assert html.count("% (folds)</td>") == html.count("&nbsp;% (folds)") == 1
    assert "finalists scored on held-out folds of train; not comparable with dev" in words(html)
    assert "three\\u003cbr\\u003ebaseline, taught" in html, "the picture has them, too"
    assert "Not drawn" not in words(html)
