"""``final.json`` as types: nothing is lost on the way, files of earlier versions load, damage is reported."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from rigsl.errors import UserError
from search.confirm import summary
from search.confirm.final_record import (
    ConfigurationRecord,
    FinalistRecord,
    FinalistsRecord,
    FinalRecord,
    PaperRecord,
    PaperScores,
    TestRecord,
    read_final_record,
    write_final_record,
)
from search.confirm.predictions import SeedRuns
from search.run_folder import FINAL


def seed_runs(seed: int) -> SeedRuns:
    """Two trainings on two dialogues; the class "never" neither occurs nor is predicted."""
    predicted = np.random.default_rng(seed).integers(2, size=(2, 6))
    labels, offsets = np.array([0, 1, 1, 0, 1, 0]), np.array([0, 2, 6])
    return SeedRuns(predicted, labels, offsets, ("joy", "anger", "never"), (7, 8))


def whole_record() -> FinalRecord:
    """A record in which every part is present, and every value that may be None once is."""
    winner, baseline = seed_runs(0), seed_runs(1)
    finalist = FinalistRecord(
        trial=3,
        config_hash="a",
        params={"lr": 0.01, "use_gumbel": False, "backbone": "M3Net"},
        search_score=0.6,
        complete=True,
        scores=(0.5, None),
        mean=0.5,
        std=None,
        standard_error=None,
        state="winner",
        reason="",
    )
    return FinalRecord(
        finalists=FinalistsRecord((1, 2), 12, (finalist, replace(finalist, trial=4, mean=None)), 0.01),
        winner=ConfigurationRecord(3, {"lr": 0.01}, {"lr": 0.01}, "a"),
        baseline=ConfigurationRecord(None, {"lr": 0.1}, {}, "b"),
        tested={"winner": ("final/a-7/model",), "baseline": ("final/b-7/model",)},
        test=TestRecord(
            seeds=(7, 8),
            winner=summary.describe(winner),
            baseline=summary.describe(baseline),
            difference=summary.compare(winner, baseline),
            validation={"winner": (0.5, 0.6), "baseline": (0.4,)},
        ),
        paper=PaperRecord((7,), PaperScores((0.6,), 0.6, None), None),
    ).opened("2 trainings of trial 3", "validation")


@pytest.mark.parametrize("record", [whole_record(), FinalRecord()])
def test_a_record_is_the_same_after_the_way_through_its_file(record: FinalRecord, tmp_path: Path) -> None:
    assert FinalRecord.from_json(json.loads(json.dumps(record.to_json()))) == record
    write_final_record(tmp_path, record)
    assert read_final_record(tmp_path) == record


def test_a_study_without_the_file_has_reached_nothing(tmp_path: Path) -> None:
    assert read_final_record(tmp_path) == FinalRecord()


SUMMARY = {
    "values": [0.25, 0.5],
    "mean": 0.375,
    "std": 0.1768,
    "standard_error": 0.125,
    "low": -1.2,
    "high": 2,
}
INTERVAL = {
    "value": 0.375,
    "low": 0.0,
    "high": 0.5,
    "standard_error": 0.04,
    "resampled": ["dialogues", "seeds"],
    "resamples": 10000,
    "level": 0.95,
}
SIDE = {
    "seeds": [4501, 4502],
    "weighted_f1": SUMMARY,
    "interval": INTERVAL,
    "macro_f1": SUMMARY,
    "accuracy": SUMMARY,
    "f1": {"joy": SUMMARY, "anger": None},
    "support": {"joy": 3, "anger": 0},
    "confusion": [[5, 1], [0, 0]],
    "runs": [
        {
            "seed": 4501,
            "weighted_f1": 0.25,
            "macro_f1": 0.2,
            "accuracy": 0.3,
            "f1": {"joy": 0.25, "anger": None},
            "interval": INTERVAL | {"resampled": ["dialogues"]},
        },
    ],
}
RANK = {"p": 0.75, "statistic": 4.0, "pairs": 4, "smallest_possible_p": 0.125}
#: What the search wrote before its packages: nested dicts, null for parts that a study did not have.
EARLIER = {
    "finalists": {
        "seeds": [4001, 4002],
        "epochs": 3,
        "candidates": [
            {
                "trial": 1,
                "config_hash": "faefce73a5ba",
                "params": {"lr": 0.0009, "num_L": 2, "use_gumbel": True},
                "search_score": 0.1077,
                "complete": True,
                "scores": [0.0273, 0.0876],
                "mean": 0.0575,
                "std": 0.0426,
                "standard_error": 0.0301,
                "state": "winner",
                "reason": "",
            },
        ],
        "optimism": 0.0485,
    },
    "winner": {
        "trial": 1,
        "config": {"lr": 0.0009, "seed": 3},
        "params": {"lr": 0.0009},
        "config_hash": "faefce73a5ba",
    },
    "baseline": {
        "trial": 0,
        "config": {"lr": 0.01, "seed": 3},
        "params": {"lr": 0.01},
        "config_hash": "b9100923418f",
    },
    "tested": {
        "winner": ["final/faefce73a5ba-4501/model", "final/faefce73a5ba-4502/model"],
        "baseline": ["final/b9100923418f-4501/model", "final/b9100923418f-4502/model"],
    },
    "openings": [
        {
            "at": "2026-11-25T22:26:54+00:00",
            "what": "2 trainings of trial 1 and 2 trainings of the baseline",
            "protocol": "validation",
        },
    ],
    "test": {
        "seeds": [4501, 4502],
        "winner": SIDE,
        "baseline": SIDE,
        "difference": {
            "bootstrap": {"interval": INTERVAL, "p": 0.6439},
            "wilcoxon_over_dialogues": RANK,
            "wilcoxon_over_seeds": None,
        },
        "validation": {"winner": [0.0855, 0.1], "baseline": [0.0369, 0.05]},
    },
    "paper": None,
}


def test_a_file_of_the_search_before_its_packages_loads_without_a_loss(tmp_path: Path) -> None:
    (tmp_path / FINAL).write_text(json.dumps(EARLIER), encoding="utf-8")
    record = read_final_record(tmp_path)
    parts = {
        "finalists": {"folds": []},
        "test": dict.fromkeys(("taught", "average", "parameters", "milliseconds")),
    }  # of later versions
    later = {name: EARLIER[name] | values for name, values in parts.items()} | dict.fromkeys(
        ("trust", "explanation")
    )
    assert json.loads(json.dumps(asdict(record))) == EARLIER | later
    assert record.finalists.candidates[0].scores == (0.0273, 0.0876)
    assert record.test.side("baseline").interval.resampled == ("dialogues", "seeds")
    assert record.test.difference.wilcoxon_over_dialogues.pairs == 4
    (tmp_path / FINAL).write_text(json.dumps(EARLIER | {"finalists": None}), encoding="utf-8")
    assert read_final_record(tmp_path).finalists is None


@pytest.mark.parametrize(
    "text",
    [
        '{"finalists": {"seeds": [1',
        json.dumps(EARLIER | {"winner": {"trial": 1}}),
        json.dumps(EARLIER | {"test": EARLIER["test"] | {"seeds": ["first"]}}),
        "[]",
    ],
)
def test_a_damaged_file_is_reported_in_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / FINAL).write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as error:
        read_final_record(tmp_path)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / FINAL}: is damaged; restore it from a copy")
    assert "\n" not in message
