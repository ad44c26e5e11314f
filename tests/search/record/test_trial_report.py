"""The numbers of an epoch are the same at every stop between the worker and the record."""

import math

import pytest

from search.record.learning_curve import METRIC
from search.record.trial_report import BY_ITSELF, FAILED, TrialReport

LINES = [
    {
        "epoch": epoch,
        "time": 1000.5 + epoch,
        "train_loss": 1 / epoch,
        "val_accuracy": accuracy,
        "val_macro_f1": accuracy / 2,
        "best_weighted_f1": 0.5,
        "best_epoch": 1.0,
        "epoch_seconds": 0.25,
    }
    for epoch, accuracy in ((1, 0.6), (2, 0.4))
]


def test_the_report_of_a_curve_has_the_last_epoch_and_the_scores_of_the_best_one() -> None:
    report = TrialReport.from_curve(LINES)
    assert (report.epoch, report.epochs, report.best_epoch) == (2, 2, 1)
    assert (report.score, report.accuracy, report.macro_f1, report.seconds) == (0.5, 0.6, 0.3, 0.5)
    assert report.metrics == {name: value for name, value in LINES[1].items() if name != "epoch"}
    assert not report.done
    assert not report.failure


def test_ray_carries_a_flat_dict_with_the_keys_that_its_schedulers_read() -> None:
    result = TrialReport.from_curve(LINES).to_ray()
    assert (result["epoch"], result[METRIC], result["done"], result["ended"]) == (2, 0.5, False, "")
    assert result["metrics/train_loss"] == 0.5
    assert all(isinstance(value, str | float | int) for value in result.values())


@pytest.mark.parametrize(
    "report",
    [
        TrialReport.from_curve(LINES),
        TrialReport(epoch=3, score=0.5, epochs=3, seconds=1.5, best_epoch=2, ended=BY_ITSELF, gpu="1"),
        TrialReport(epochs=4, ended=FAILED, reason="crashed: IndexError: 7"),
    ],
)
def test_what_comes_out_of_ray_is_what_went_in(report: TrialReport) -> None:
    back = TrialReport.from_ray(report.to_ray())
    assert back.to_ray() == report.to_ray()
    assert back.attributes() == report.attributes()
    assert (back.done, back.failure, back.metrics) == (report.done, report.failure, report.metrics)


def test_ray_adds_the_machine_and_the_record_gets_what_is_known() -> None:
    result = TrialReport(epochs=4, ended=FAILED, reason="out of memory", gpu="1").to_ray()
    report = TrialReport.from_ray(result | {"hostname": "node", "node_ip": "10.0.0.7"})
    assert report.attributes() == {"epochs": 4, "host": "node (10.0.0.7)", "gpu": "1"}


def test_a_failure_has_no_epoch_and_no_score_and_says_why() -> None:
    report = TrialReport(epochs=4, ended=FAILED, reason="out of memory")
    assert report.to_ray() == {"epochs": 4, "done": True, "ended": "failed", "reason": "out of memory"}
    assert report.failure == "out of memory"
    assert "not a number" in TrialReport(epoch=1, score=math.nan, ended=BY_ITSELF).failure
    assert not TrialReport(epoch=1, score=math.nan).failure, "it goes on, and may recover"
