"""Every sampler, scheduler, backbone and report section, from the first proposal to the report."""

from __future__ import annotations

from itertools import cycle, islice
from pathlib import Path

import pytest

from rigsl.config import BACKBONES, from_toml
from search.report.registry import SECTIONS
from search.run_folder import BEST, CONFIG, OFFICIAL
from search.samplers.registry import SAMPLERS
from search.space.schedule import SCHEDULERS
from search.study import run
from tests.helpers.toy_study import toy_plan

pytestmark = pytest.mark.usefixtures("workers_here")
#: As many studies as the longest registry has names; the shorter ones begin again.
STUDIES = max(len(SAMPLERS), len(SCHEDULERS), len(BACKBONES))
NAMES = list(
    zip(*(islice(cycle(names), STUDIES) for names in (SAMPLERS, SCHEDULERS, BACKBONES)), strict=True)
)


@pytest.fixture
def epochs() -> int:
    """Two, so that population based training has an epoch to act in."""
    return 2


@pytest.mark.parametrize(
    ("sampler", "scheduler", "backbone"), NAMES, ids=["-".join(names) for names in NAMES]
)
def test_a_study_with_these_names_is_searched_exported_and_reported(
    tracked_home: Path, sampler: str, scheduler: str, backbone: str
) -> None:
    space = tracked_home / "space.toml"
    text = space.read_text(encoding="utf-8").replace("[fixed]", f'[fixed]\nbackbone = "{backbone}"')
    options = (
        "interval = 1\npopulation = 2" if scheduler == "pbt" else "grace = 1" if SCHEDULERS[scheduler] else ""
    )
    text = text.replace('name = "asha"\ngrace = 1\nreduction = 2', f'name = "{scheduler}"\n{options}')
    space.write_text(text, encoding="utf-8")
    outcome = run(toy_plan(tracked_home, trials=3, sampler=sampler))
    assert outcome.counts["failed"] == 0
    assert sum(outcome.counts.values()) == 3
    folder = outcome.plan.folder
    assert from_toml(folder / BEST / CONFIG).backbone == backbone
    official = (folder / BEST / OFFICIAL).read_text(encoding="utf-8")
    assert official.startswith("# ") or f"--backbone={backbone} " in official
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert all(f'id="{anchor}"' in page for anchor in SECTIONS)
    assert "Not drawn" not in page
