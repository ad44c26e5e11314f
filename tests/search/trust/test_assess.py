"""All checks of a study together, for every kind of final stage."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from search.trust.assess import assess
from search.trust.evidence import Evidence
from search.trust.trust_record import UNKNOWN, TrustRecord
from tests.helpers.run_folders import make_final, make_plan, make_study
from tests.helpers.simulated_finals import World, add_trust, simulate

NAMES = ["noise", "reliability", "first_two", "left_to_win", "overtuning", "surrogate", "prior_shift"]
KINDS = {
    "folds": simulate(World(), 0)[0],
    "dev": simulate(World(folds=0), 0)[0],
    "one finalist": simulate(World(finalists=1), 0)[0],
    "one block": simulate(World(blocks=1), 0)[0],
    "one test seed": simulate(World(test_seeds=1), 0)[0],
}
KINDS["no finalists"] = dataclasses.replace(KINDS["dev"], finalists=())
KINDS["nothing known"] = Evidence(finalists=(), winner=None, folds=False, tests=())


def assessed(folder: Path, evidence: Evidence, states: str = "ccpc") -> TrustRecord:
    plan = make_plan(folder)
    return assess(evidence, make_study(plan, states), plan.space)


@pytest.mark.parametrize("evidence", KINDS.values(), ids=KINDS)
def test_every_kind_of_study_has_all_checks_and_a_score_or_a_sentence(
    evidence: Evidence, tmp_path: Path
) -> None:
    trust = assessed(tmp_path, evidence)
    assert [check.name for check in trust.checks] == NAMES
    assert (trust.expected is None) == bool(trust.unexpected)
    for check in trust.checks:
        assert bool(check.figure) == (check.verdict != UNKNOWN)
        assert check.advice
    assert trust.passed == sum(check.verdict == "pass" for check in trust.checks)


def test_what_a_study_knows_decides_what_is_expected(tmp_path: Path) -> None:
    known = {kind for kind, evidence in KINDS.items() if assessed(tmp_path / kind, evidence).expected}
    assert known == {*KINDS} - {"nothing known"}


def test_the_record_is_the_same_after_the_way_through_final_json(tmp_path: Path) -> None:
    plan = make_plan(tmp_path)
    study = make_study(plan, "ccppcpcc")
    make_final(plan, study)
    trust = assess(KINDS["folds"], study, plan.space, openings=1)
    assert add_trust(plan.folder, trust).trust == trust
    content = json.loads((plan.folder / "final.json").read_text(encoding="utf-8"))["trust"]
    assert content["openings"] == 1
    assert content["numbers"]["reliability"] == pytest.approx(trust.numbers["reliability"])
    assert set(content["expected"]["errors"]) == {
        "the winner's mean",
        "all of train",
        "dialogues scored on",
        "dialogues of test",
        "seeds on test",
    }
