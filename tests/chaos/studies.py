"""The small studies that are disturbed: several samplers, schedulers, records and trackings."""

from __future__ import annotations

from dataclasses import dataclass

#: Epochs of a trial; they take hundredths of a second.
EPOCHS = 4


@dataclass(frozen=True)
class SmallStudy:
    """One of STUDIES: a search with finals, test, export and report, and a larger budget at its end."""

    sampler: str
    scheduler: str
    record: str = "journal"  #: or "sqlite", "postgresql"
    tracking: str = "sqlite"  #: or "server"
    workers: int = 1
    cluster: bool = False  #: on a Ray cluster that somebody else has started, with two nodes
    trials: int = 6
    more_trials: int = 0  #: so many more when it is finished, in a resume
    final: tuple[str, ...] = ("--finalists", "2", "--finalist-seeds", "2", "--test-seeds", "2")

    @property
    def name(self) -> str:
        """Its sampler, scheduler, record and tracking."""
        parts = [self.sampler, self.scheduler, self.record, self.tracking]
        parts += [f"{self.workers}-workers"] if self.workers > 1 else []
        return "-".join(parts + (["cluster"] if self.cluster else []))

    def options(self) -> list[str]:
        """Those of a new study, without its name and stores."""
        method = ["--sampler", self.sampler, "--scheduler", self.scheduler, "--seed", "7"]
        return [*method, "--trials", str(self.trials), *self.final]


PAPER = ("--finalists", "2", "--finalist-seeds", "1", "--test-seeds", "1", "--protocol", "paper")
STUDIES = (
    SmallStudy("gp", "asha", more_trials=2),
    SmallStudy("tpe", "hyperband", record="sqlite"),
    SmallStudy("random", "pbt", trials=8),
    SmallStudy("tpe", "none", tracking="server"),
    SmallStudy("cmaes", "median", final=PAPER),
    # Random draws depend on the trial's number only, so two workers come to the same trials as one.
    SmallStudy("random", "none", workers=2, trials=8),
    SmallStudy("qmc", "asha", record="postgresql", more_trials=2),
    SmallStudy("gp", "none", final=("--finalists", "0", "--test-seeds", "0")),
    SmallStudy("tpe", "asha", trials=4, cluster=True),
)
