"""Train an exported configuration again and compare: does anyone else get the same numbers?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rigsl.config import RIGSLConfig, from_mapping, from_toml
from rigsl.data.source import find_corpus
from rigsl.device import threads
from rigsl.errors import UserError
from rigsl.training.checkpoint import CONFIG
from search.export import environment
from search.export.best import named_scores, read_metrics
from search.resources.workers import gpu_count
from search.run_folder import METRICS

#: The scores that are compared: (split, name).
SCORES = [
    (split, name) for split in ("validation", "test") for name in ("weighted_f1", "macro_f1", "accuracy")
]


@dataclass(frozen=True)
class Comparison:
    """Recorded and new scores of one configuration."""

    folder: Path
    rows: list[tuple[str, str, float, float]]  #: split, score, recorded, new
    differences: dict[str, tuple[Any, Any]]  #: of machine and commit: name -> (recorded, here)
    device: str

    @property
    def equal(self) -> bool:
        """Whether every score is the same, bit for bit."""
        return all(recorded == new for _, _, recorded, new in self.rows)

    @property
    def reproducible(self) -> bool:
        """Whether they must be: the same machine, and no CUDA, which adds up in no fixed order."""
        return self.device == "cpu" and not set(self.differences) - {"commit"}


def rerun(folder: Path, *, data_dir: Path | None = None, on_epoch: Any = None) -> Comparison:
    """Train the configuration in `folder` with its seed, threads and kind of device, and score it again.

    Raises:
        UserError: the folder is no result of a study, the corpus is another, or there is no such device.
    """
    from rigsl.training.evaluation import evaluate
    from rigsl.training.fit import fit

    recorded = read_metrics(folder)
    if not recorded or not (folder / CONFIG).is_file():
        raise UserError(f"--rerun {folder}: is no result of a study; it lacks {METRICS} or {CONFIG}")
    config = from_toml(folder / CONFIG)
    corpus, _ = find_corpus(recorded["dataset"], recorded["features"], data_dir)
    if corpus.content_hash() != recorded["corpus_hash"]:
        raise UserError(
            f"--rerun {folder}: corpus {corpus.name} is not the one that the scores were measured on"
        )
    device, cores = recorded["machine"]["device"], recorded["machine"]["threads"]
    if device == "cuda" and not gpu_count():
        raise UserError(f"--rerun {folder}: was trained on a GPU, and there is none here that torch can use")
    with threads(cores):
        result = fit(
            config,
            corpus.without_test_labels(),
            device=device,
            on_epoch=on_epoch,
            lineage=_lineage(recorded, folder),
        )
        new = {
            name: named_scores(evaluate(result.model, corpus, split, device=device), corpus, split)
            for name, split in (("validation", "dev"), ("test", "test"))
        }
    rows = [(split, name, recorded[split][name], new[split][name]) for split, name in SCORES]
    return Comparison(folder, rows, _differences(recorded, device, cores), device)


def _lineage(recorded: dict[str, Any], folder: Path) -> list[tuple[RIGSLConfig, int]]:
    """The configurations under which the training began, each with its last epoch (see `lineage`)."""
    where = str(folder / METRICS)
    stages = recorded.get("lineage", [])
    return [(from_mapping(stage["config"], where), int(stage["until_epoch"])) for stage in stages]


def _differences(recorded: dict[str, Any], device: str, cores: int) -> dict[str, tuple[Any, Any]]:
    then = dict(recorded["machine"]) | {"commit": recorded["commit"]}
    now = environment.machine(device, cores) | {"commit": environment.commit()}
    return {name: (then.get(name), now.get(name)) for name in then | now if then.get(name) != now.get(name)}
