"""The report: what it says about every kind of study, and that it is self-contained."""

import dataclasses
import json
import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from rigsl.errors import UserError
from rigsl.wording import counted, percent
from search.plan.plan import Plan
from search.record import record
from search.report import importance, sections
from search.report.clock import search_seconds
from search.report.registry import SECTIONS
from search.report.sections.classes import row_shares
from search.report.sections.edges import beyond, find_edges, parts
from search.report.sections.trials import grouped
from search.report.trial_views import good_trials, scored_view
from search.report.write import rebuild, study_claim, write_report
from search.space.distributions import distribution
from search.space.parameter import Parameter
from tests.helpers.run_folders import (
    BEGIN,
    make_export,
    make_final,
    make_plan,
    make_study,
    write_system_metrics,
)
from tests.helpers.toy_study import SPACE as TINY
from tests.helpers.toy_study import make_corpus

PICTURES = {"history.png", "winner-baseline.png", "finalists.png", "confusion.png", "importance.png"}


def without_plotly(page: str) -> str:
    """The page without plotly.js."""
    return re.sub(r"<head>.*</head>", "", page, flags=re.DOTALL)


def words(page: str) -> str:
    """The words of a page."""
    text = re.sub(r"<script.*?</script>", " ", without_plotly(page), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text).replace("&nbsp;", " "))


def write(plan: Plan, study: optuna.Study) -> str:
    """The report of a study, whose result is exported first; returns the page."""
    exported = make_export(plan, study)
    path = write_report(plan.folder, study, exported, plan.corpus, plan.features)
    return path.read_text(encoding="utf-8")


def report_of(folder: Path, states: str, **options) -> str:
    """The words of the report of a study without a final stage."""
    plan = make_plan(folder, **options)
    return words(write(plan, make_study(plan, states)))


@pytest.fixture(scope="module", autouse=True)
def _small_forests():
    """Seconds less, and the same results."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importance, "TREES", 8)
        patch.setattr(importance, "SHUFFLES", 10)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a whole study: 24 trials, finalists, a test."""
    plan = make_plan(tmp_path_factory.mktemp("runs"), "whole")
    study = make_study(plan, "cppcpfcrpcpcpcppcpcpcpcc")
    make_final(plan, study)
    write_system_metrics(plan, 200, gpus=1)
    write(plan, study)
    return plan.folder


def test_a_whole_study_is_reported(finished: Path) -> None:
    text = words((finished / "report.html").read_text(encoding="utf-8"))
    final = json.loads((finished / "final.json").read_text(encoding="utf-8"))["test"]
    f1, interval = final["winner"]["weighted_f1"], final["winner"]["interval"]
    gap = final["difference"]["bootstrap"]["interval"]
    for part in (
        f"{100 * f1['mean']:.2f} ± {100 * f1['std']:.2f} % (mean ± standard deviation of 3 trainings",
        f"95 % interval {100 * interval['low']:.2f} to {100 * interval['high']:.2f} %",
        f"{100 * gap['low']:+.2f}".replace("-", "\u2212"),
        "by the mean of 3 fresh seeds among 4 finalists, and test was opened once, afterwards",
        "selected on test, optimistic",
        "Selection bias (optimism): on average the search scores are 1.23 points above",
        ": cannot win any more",
        "predefined edges, on average over its layers",
        "same configuration as trial 0",
        "stopped by the scheduler after epoch 2",
        "PED-ANOVA measures what distinguishes",
        "GPU 0",
        "0123456789abcdef",
    ):
        assert part in text, part
    assert "Not drawn" not in text
    assert {path.name for path in finished.glob("*.png")} == PICTURES


def test_the_priors_of_the_search_are_named(tmp_path: Path) -> None:
    believed = TINY.format(epochs=6).replace("[space.lr]", "[space.lr]\nprior = 1e-3")
    sentence = "priors lr 0.001 (low); tpe draws 5 of its first 10 proposals from them"
    assert sentence in report_of(tmp_path, "cc", space=believed)


def test_the_page_is_self_contained_and_escapes_what_it_shows(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert page.count("plotly.js v") == 1
    assert not re.findall(
        r"""(?:src|href|action)\s*=\s*["'](?!#)|@import|url\(|https?:""", without_plotly(page)
    )
    assert "crashed: ValueError: &lt;script&gt;alert(" in page
    assert "<script>alert(" not in page
    assert "alert(5)</script>" not in page


def test_every_section_file_is_registered_under_its_own_name(finished: Path) -> None:
    files = {path.stem for path in Path(sections.__file__).parent.glob("*.py")} - {"__init__"}
    assert {section.content.__module__.rpartition(".")[2] for section in SECTIONS.values()} == files
    for anchor, section in SECTIONS.items():
        assert section.content.__module__ == f"{sections.__name__}.{anchor}"
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'<section id="(\w+)"', page) == list(SECTIONS)
    for anchor, section in SECTIONS.items():
        assert f'<a href="#{anchor}">{section.link}</a>' in page
        assert f"<h2>{section.title}</h2>" in page


def test_a_report_is_made_again_from_the_folder_alone(finished: Path, tmp_path: Path) -> None:
    first = words((finished / "report.html").read_text(encoding="utf-8"))
    for name in ("report.html", *PICTURES):
        (finished / name).unlink()
    again = words(rebuild(finished).read_text(encoding="utf-8"))
    made = re.compile(r"Made .* from the record")
    assert made.sub("", again) == made.sub("", first)
    assert {path.name for path in finished.glob("*.png")} == PICTURES


def test_a_second_opening_of_test_is_said_wherever_a_test_score_stands(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    study = make_study(plan, "cc")
    make_final(plan, study, openings=2)
    page = write(plan, study)
    assert "test was opened 2 times, so this score is no longer unbiased" in words(page)
    assert "The test split was opened 2 times for this study." in words(page)
    for part in ("result", "classes"):
        section = page.split(f'<section id="{part}">')[1].split("</section>")[0]
        assert "winner (test opened 2 times)" in section
        assert re.search(r"<figcaption>[^<]*test opened 2 times", section)
    once = report_of(tmp_path / "once", "cc")
    assert "opened 2 times" not in once


@pytest.mark.parametrize(
    ("states", "sentence"),
    [
        ("", "None of 0 trials finished an epoch; there is no result."),
        ("fff", "None of 3 trials finished an epoch; there is no result."),
        ("c", "The best of 1 trial on MELD-tiny, trial 0, given (start point 1), reaches a weighted F1 of"),
        ("p", "trial 0 (stopped before its last epoch), given (start point 1), reaches a weighted F1 of"),
        ("cc", "it is a single training (seed 0), so its spread over seeds is not known."),
    ],
)
def test_few_trials_give_an_honest_page(tmp_path: Path, states: str, sentence: str) -> None:
    text = report_of(tmp_path, states)
    assert sentence in text
    scored = len(states.replace("f", ""))
    importance_needs = "Importance is computed from at least 10 trials with different scores"
    assert f"{importance_needs}; this study has {counted(scored, 'trial')} with a score." in text
    assert "Ranges are assessed from 10 trials with a score on" in text
    assert ("No trial has a score." in text) == (scored == 0)
    assert ("This needs 2 trials with a score" in text) == (scored < 2)
    assert ("No trial has ended." in text) == (states == "")
    assert ("There was nothing to train again." in text) == (scored == 0)
    assert "Not drawn" not in text
    assert {path.name for path in (tmp_path / "one").glob("*.png")} == {"history.png"}


def test_a_class_that_validation_lacks_is_named(tmp_path: Path) -> None:
    corpus = make_corpus()
    rows = corpus.rows(corpus.dialogues("dev"))
    labels = np.array(corpus.labels)
    labels[rows] = np.where(labels[rows] == 2, 0, labels[rows])
    text = report_of(tmp_path, "cc", corpus=dataclasses.replace(corpus, labels=labels))
    assert (
        "Validation has no utterance of fear: how well that is recognised did not influence any choice"
        in text
    )
    assert "The training split has no utterance" not in text


def test_a_class_that_does_not_occur_has_no_shares() -> None:
    assert row_shares([[3, 1], [0, 0]]) == [[0.75, 0.25], [None, None]]


def test_a_result_that_the_search_has_left_behind_says_so(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    write(plan, make_study(plan, "cc"))
    make_study(plan, "ccc", seed=1)
    text = words(rebuild(plan.folder).read_text(encoding="utf-8"))
    assert "3 trials ended after this result was exported and did not influence it." in text


def test_the_scores_of_an_earlier_winner_are_not_told_of_a_new_one(tmp_path: Path) -> None:
    """A study that was resumed after its end, and whose new winner is not tested yet."""
    plan = make_plan(tmp_path)
    study = make_study(plan, "ccc")
    make_final(plan, study)
    write(plan, study)
    final = json.loads((plan.folder / "final.json").read_text(encoding="utf-8"))
    other = next(trial.number for trial in study.trials if trial.number != final["winner"]["trial"])
    final["winner"] |= {"trial": other, "config_hash": "of the new winner"}
    for name in ("test", "paper", "trust", "explanation"):
        final.pop(name, None)
    (plan.folder / "final.json").write_text(json.dumps(final), encoding="utf-8")
    text = words(rebuild(plan.folder).read_text(encoding="utf-8"))
    score = percent(record.score(study.trials[other]))
    assert f"trial {other}, searched" in text or f"trial {other}, given" in text
    assert (
        f"reaches a weighted F1 of {score} on validation; it has no test score, but test was opened" in text
    )
    assert "Nothing has been tested." in text
    assert "There is no exported model." in text, "the graph is the earlier winner's"


def test_the_graph_of_other_weights_is_not_shown(tmp_path: Path) -> None:
    """The report's facts are written after the export: a kill can come between them."""
    plan = make_plan(tmp_path)
    text = words(write(plan, make_study(plan, "cc")))
    assert "There is no exported model." not in text
    path = plan.folder / "best" / "metrics.json"
    metrics = json.loads(path.read_text(encoding="utf-8")) | {"weights_sha256": "of the new winner"}
    path.write_text(json.dumps(metrics), encoding="utf-8")
    assert "There is no exported model." in words(rebuild(plan.folder).read_text(encoding="utf-8"))


def test_a_damaged_file_ends_a_study_with_a_sentence(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    study = make_study(plan, "cc")
    (plan.folder / "environment.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(UserError, match="a report cannot be made, as one of the files is damaged"):
        write(plan, study)


def test_no_baseline_and_the_baseline_as_the_winner_are_told(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    study = make_study(plan, "cc")
    final = make_final(plan, study)
    final["test"] |= {"baseline": None, "difference": None, "validation": {"winner": [0.5, 0.5, 0.5]}}
    changed = final | {"baseline": None, "paper": None}
    (plan.folder / "final.json").write_text(json.dumps(changed), encoding="utf-8")
    text = words(write(plan, study))
    assert "without a baseline to compare with" in text
    assert "Not drawn" not in text
    same = changed | {"baseline": final["winner"]}
    (plan.folder / "final.json").write_text(json.dumps(same), encoding="utf-8")
    assert "the baseline itself reaches" in study_claim(plan.folder, study, make_export(plan, study))


def test_trials_that_were_stopped_count_with_their_best_score(tmp_path: Path) -> None:
    study = make_study(make_plan(tmp_path), "cprf")
    view = scored_view(study, 100).get_trials(deepcopy=False)
    assert [trial.number for trial in view] == [0, 1]
    assert [trial.value for trial in view] == [100 * record.score(trial) for trial in study.trials[:2]]
    assert study.trials[1].state == TrialState.PRUNED


def test_importance_finds_what_matters_and_nothing_in_noise(tmp_path: Path) -> None:
    real = importance.measure(make_study(make_plan(tmp_path, "real"), "c" * 24))
    assert real.order[0] == "lr"
    assert "lr" in real.fanova.beyond_chance
    assert real.left_out == ["tau"]
    assert sum(real.ped_anova.shares.values()) == pytest.approx(1)
    plan = make_plan(tmp_path, "noise")
    study = record.open_record(plan.folder, plan.name)
    rng = np.random.default_rng(1)
    ranges = {name: FloatDistribution(0, 1) for name in ("a", "b", "c")}
    for _ in range(20):
        params = {name: float(rng.random()) for name in ranges}
        study.add_trial(create_trial(value=float(rng.random()), params=params, distributions=ranges))
    noise = importance.measure(study)
    assert not noise.ped_anova.beyond_chance
    assert not noise.fanova.beyond_chance


def test_parameters_at_an_edge_are_found_and_can_be_widened() -> None:
    lr = Parameter("lr", "float", 1e-4, 1e-2, log=True)
    dropout = Parameter("dropout", "float", 0.0, 0.6)
    layers = Parameter("num_L", "int", 1, 3)
    width = Parameter("hidden_dim", "choice", values=(128, 64, 96))
    kind = Parameter("class_weight", "choice", values=("none", "sqrt", "inverse"))
    trials = [
        create_trial(
            value=0.5,
            params={
                "lr": 9e-3,
                "dropout": 0.01,
                "num_L": 1 + i % 3,
                "hidden_dim": 128,
                "class_weight": "none",
            },
            distributions={
                parameter.name: distribution(parameter) for parameter in (lr, dropout, layers, width, kind)
            },
        )
        for i in range(6)
    ]
    parameters = [lr, dropout, layers, width, kind]
    edges = {edge.parameter.name: edge for edge in find_edges(parameters, trials)}
    assert set(edges) == {"lr", "dropout", "hidden_dim"}
    assert (edges["lr"].side, edges["lr"].count, edges["lr"].wider) == ("high", 6, pytest.approx(0.03))
    assert (edges["dropout"].side, edges["dropout"].wider) == ("low", None)  # below 0 there is none
    assert (edges["hidden_dim"].end, edges["hidden_dim"].wider) == (128, 256)
    assert beyond(layers, "high") == 4
    assert beyond(layers, "low") is None
    assert beyond(dataclasses.replace(dropout, high=0.9), "high") == 0.95


def test_coverage_counts_the_trials_in_each_part_of_a_range() -> None:
    lr = Parameter("lr", "float", 1e-4, 1e-2, log=True)
    assert parts(lr, [1e-4, 1e-3, 1e-2, 1e-2]) == [1, 0, 1, 0, 2]
    assert parts(Parameter("num_L", "int", 1, 3), [3, 3, 1]) == [1, 0, 2]
    assert parts(Parameter("class_weight", "choice", values=("none", "sqrt")), ["sqrt"]) == [0, 1]


def test_last_proposals_at_an_edge_are_a_warning(tmp_path: Path) -> None:
    plan = make_plan(tmp_path, "piled")
    study = make_study(plan, "c" * 14)
    calm = words(write(plan, study))
    assert "Coverage of the space" in calm
    assert "pile up" not in calm
    entries = {name: distribution(parameter) for name, parameter in plan.space.parameters.items()}
    for number in range(10):
        params = {"lr": 0.09, "num_L": 1 + number % 2, "use_gumbel": True, "tau": 0.2 + 0.06 * number}
        study.add_trial(create_trial(value=0.3, params=params, distributions=entries))
    assert "10 of the last 10 have lr at its high end, 0.1" in words(write(plan, study))


def test_good_trials_are_the_best_fifth_of_enough(tmp_path: Path) -> None:
    assert good_trials(make_study(make_plan(tmp_path, "few"), "c" * 9)) == []
    study = make_study(make_plan(tmp_path, "many"), "cp" * 20)
    best = good_trials(study)
    scores = sorted((record.score(trial) for trial in study.trials), reverse=True)
    assert [record.score(trial) for trial in best] == scores[:8]


def test_reasons_that_differ_in_numbers_are_one() -> None:
    given = [
        ("pruned", "stopped by the scheduler after epoch 3", 4),
        ("pruned", "stopped by the scheduler after epoch 3", 2),
        ("pruned", "stopped: trial 12 follows", 5),
        ("pruned", "stopped: trial 14 follows", 6),
        ("failed", "out of memory", 1),
    ]
    assert grouped(given) == [
        ("failed", "out of memory", [1]),
        ("pruned", "stopped by the scheduler after epoch 3", [2, 4]),
        ("pruned", "stopped: trial \u2026 follows", [5, 6]),
    ]


def test_a_pause_before_a_resume_takes_no_time() -> None:
    def ended(start: int, end: int):
        trial = create_trial(value=0.5)
        trial.datetime_start, trial.datetime_complete = (BEGIN + timedelta(seconds=s) for s in (start, end))
        return trial

    trials = [ended(10, 20), ended(10, 40), ended(3610, 3630)]
    assert search_seconds(trials, [BEGIN, BEGIN + timedelta(hours=1)]) == [20, 40, 70]
    assert search_seconds(trials, []) == [10, 30, 3620]
