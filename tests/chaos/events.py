"""The events of a campaign: what they hit, in which stages, and whether the driver lives on."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.driver import END, EVALUATION, EXPORT, FINALS, REPORT, SEARCH, STAGES, START

#: Stages in which a study has workers.
WITH_RAY = (SEARCH, FINALS)
#: What a study has: a Ray of its own, or the nodes of a cluster; a small disk.
OWN_RAY, CLUSTER, DISK = "own Ray", "cluster", "disk"


@dataclass(frozen=True)
class Kind:
    """A kind of event."""

    name: str
    weight: float
    ends: bool  #: whether the driver ends by it, as a rule
    stages: tuple[str, ...] = STAGES
    needs: str = ""  #: what not every campaign and study has, such as a disk that can be full


KINDS = {
    kind.name: kind
    for kind in (
        Kind("driver SIGKILL", 3, True),
        Kind("driver SIGTERM", 1.5, True),
        Kind("driver SIGINT", 1.5, True),
        Kind("driver SIGINT twice", 1, True),
        Kind("driver SIGHUP", 1, True),
        Kind("group SIGKILL", 1, True),
        Kind("group SIGTERM", 1, True),
        Kind("group SIGINT", 1, True),
        Kind("raylet SIGKILL", 4, True, WITH_RAY, OWN_RAY),
        Kind("GCS SIGKILL", 4, True, WITH_RAY, OWN_RAY),
        Kind("disk full", 2, True, needs=DISK),
        Kind("disk read-only", 0.7, True, needs=DISK),
        Kind("disk away", 0.7, True, needs=DISK),
        Kind("driver SIGSTOP", 1, False),
        Kind("worker SIGKILL", 4, False, WITH_RAY, OWN_RAY),
        Kind("worker SIGTERM", 1, False, WITH_RAY, OWN_RAY),
        Kind("worker SIGSTOP", 1.5, False, WITH_RAY, OWN_RAY),
        Kind("raylet SIGSTOP", 1, False, WITH_RAY, OWN_RAY),
        Kind("GCS SIGSTOP", 1, False, WITH_RAY, OWN_RAY),
        Kind("terminal gone", 1, False),
        Kind("clock step", 1, False),
        Kind("disk full for a moment", 0.7, False, needs=DISK),
        Kind("disk read-only for a moment", 0.5, False, needs=DISK),
        Kind("disk away for a moment", 0.5, False, needs=DISK),
        Kind("MLflow server SIGKILL", 5, False, needs="server"),
        Kind("MLflow server SIGSTOP", 4, False, needs="server"),
        Kind("database stopped", 5, False, needs="postgresql"),
        Kind("database SIGSTOP", 4, False, needs="postgresql"),
        Kind("node lost", 20, False, WITH_RAY, CLUSTER),
    )
}
#: How often a stage is chosen, when the study has come to it.
STAGE_WEIGHTS = {START: 1, SEARCH: 3, FINALS: 3, EVALUATION: 2, EXPORT: 2, REPORT: 1.5, END: 1.5}
#: Kinds by which a training loses its worker: the second time in a life it would rightly end as failed.
LOSES_WORKER = {"worker SIGKILL", "worker SIGTERM", "node lost"}


@dataclass(frozen=True)
class Event:
    """One event: at the point `index` of a stage, or so many seconds after it."""

    kind: Kind
    stage: str
    index: int
    delay: float
    seconds: float  #: of a stop, of a full disk; hours of a clock step


def plan_life(
    rng: random.Random,
    points: Mapping[str, int],
    first: str,
    has: set[str],
    *,
    most: int,
    names: Collection[str] = KINDS,
) -> list[Event]:
    """The events of one life of a driver, at most `most`, in their order.

    Args:
        rng: decides.
        points: number of points of each stage in an undisturbed study.
        first: the stage that the study has reached.
        has: what `Kind.needs` can be met.
        most: events.
        names: of the kinds of events that may happen; some of those that end a driver, and some that do not,
            in any stage.
    """
    stages = [stage for stage in STAGES[STAGES.index(first) :] if points.get(stage)]
    if first != START:
        stages = [START, *stages]  # every life begins there
    kinds = [KINDS[name] for name in KINDS if name in names]
    kinds = [kind for kind in kinds if not kind.needs or kind.needs in has]
    passing = [kind for kind in kinds if not kind.ends]
    ending = [kind for kind in kinds if kind.ends]
    chosen = [_draw(rng, passing, stages, points) for _ in range(rng.randrange(2, 7))]
    chosen.sort(key=lambda event: (STAGES.index(event.stage), event.index))
    if rng.random() < 0.92:
        last = _draw(rng, ending, stages, points)
        place = (STAGES.index(last.stage), last.index)
        chosen = [event for event in chosen if (STAGES.index(event.stage), event.index) <= place]
        chosen.append(last)
    return chosen[-most:]


def _draw(
    rng: random.Random, kinds: Sequence[Kind], stages: Sequence[str], points: Mapping[str, int]
) -> Event:
    stage = rng.choices(stages, [STAGE_WEIGHTS[stage] for stage in stages])[0]
    possible = [kind for kind in kinds if stage in kind.stages]
    kind = rng.choices(possible, [kind.weight for kind in possible])[0]
    delay = 0.0 if rng.random() < 0.5 else rng.uniform(0, 0.4)
    return Event(
        kind, stage, rng.randrange(points[stage]) + 1, round(delay, 3), round(rng.uniform(0.05, 0.6), 2)
    )
