"""A campaign: small studies, one after another, each disturbed until it has met its events, then finished.

Study `number` of a seed is always disturbed in the same way, as far as the machine's timing allows. The
campaign's folder keeps what is done, so that a campaign can be made in pieces.
"""

from __future__ import annotations

import dataclasses
import json
import random
import shlex
import shutil
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rigsl.files import write_text
from search import run_folder
from search.record import record
from tests.chaos.checks import Checker, differences, digest
from tests.chaos.driver import STAGES, START
from tests.chaos.events import CLUSTER, DISK, KINDS, OWN_RAY, Event, plan_life
from tests.chaos.life import Ground, Life, Past, judge
from tests.chaos.studies import EPOCHS, STUDIES, SmallStudy
from tests.helpers.mlflow_contents import assert_held, forget_addresses
from tests.helpers.toy_study import write_home

#: Events of one study, and of its continuation with a larger budget.
EVENTS, MORE_EVENTS = 24, 8
#: Lives after which a study should be finished.
MOST_LIVES = 60
#: One in so many lives is no fork, but has an interpreter of its own.
OWN_INTERPRETER = 25
#: The campaign's files.
DONE, REFERENCES, FAILURES = "studies.jsonl", "references", "failures"


@dataclass
class Disturbed:
    """What became of a study."""

    seed: int  #: of the campaign
    number: int
    name: str
    happened: list[tuple[str, str, str]] = field(default_factory=list)  #: kind, stage, point
    lives: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Campaign:
    """The studies of one seed.

    Args:
        ground: where they run.
        folder: of what is kept.
        seed: of all studies.
        say: prints a line.
        empty_mlflow: an MLflow database without a run.
        kinds: of the events that may happen.
    """

    def __init__(
        self,
        ground: Ground,
        folder: Path,
        seed: int,
        say: Callable[[str], object],
        empty_mlflow: Path,
        kinds: Collection[str] = KINDS,
    ) -> None:
        self.ground, self.folder, self.seed, self.say = ground, folder, seed, say
        self.empty_mlflow, self.kinds = empty_mlflow, kinds
        without = "" if ground.database is not None else "postgresql"
        self.studies = [small for small in STUDIES if small.record != without]
        for name in (REFERENCES, FAILURES):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def done(self) -> list[Disturbed]:
        """The studies so far."""
        path = self.folder / DONE
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [Disturbed(**json.loads(line)) for line in lines]

    def run(self, events: int) -> list[Disturbed]:
        """Go on until so many events have happened in all."""
        done = self.done()
        while (missing := events - sum(len(study.happened) for study in done)) > 0:
            number = sum(study.seed == self.seed for study in done)
            done.append(self.disturb(number, missing))
            self._keep(done)
        return done

    def repeat(self, number: int) -> Disturbed:
        """Disturb study `number` again, also in place of what became of it before."""
        result = self.disturb(number)
        done = [study for study in self.done() if (study.seed, study.number) != (self.seed, number)]
        self._keep([*done, result])
        return result

    def _keep(self, done: list[Disturbed]) -> None:
        lines = [json.dumps(dataclasses.asdict(study)) + "\n" for study in done]
        write_text(self.folder / DONE, "".join(lines))

    def disturb(self, number: int, most: int = EVENTS + MORE_EVENTS) -> Disturbed:
        """Study `number`, with at most so many events."""
        small, start = self.studies[number % len(self.studies)], time.monotonic()
        reference = self.reference(small)
        result = Disturbed(self.seed, number, small.name)
        study = _Study(self, small, f"s{number}", random.Random(f"{self.seed}-{number}"), result)
        study.run(reference["points"], most)
        self.ground.end_nodes()
        if not result.problems:
            expected, found = reference["digest"], study.digest()
            result.problems += list(differences(expected, found))
            result.problems += study.held()
        result.seconds = round(time.monotonic() - start, 1)
        self._tell(result)
        return result

    def reference(self, small: SmallStudy) -> dict[str, Any]:
        """What an undisturbed study leaves (`digest`), and how many points its stages have, leg by leg."""
        path = self.folder / REFERENCES / f"{small.name}.json"
        if not path.exists():
            result = Disturbed(self.seed, -1, small.name)
            study = _Study(self, small, "reference", random.Random(0), result)
            points = study.run([{}, {}], 0)
            if result.problems:
                raise RuntimeError(f"the undisturbed study {small.name}: {result.problems}")
            content = {"points": points, "digest": study.digest()}
            path.write_text(json.dumps(content, indent=1), encoding="utf-8")
        return dict(json.loads(path.read_text(encoding="utf-8")))

    def _tell(self, result: Disturbed) -> None:
        summary = (
            f"study {result.number} ({result.name}): {len(result.happened)} events, {result.lives} starts"
        )
        self.say(f"{summary}, {result.seconds:.0f} s" + (", FAILED" if result.problems else ""))
        if result.problems:
            for problem in result.problems:
                self.say(f"  {problem}")
            kept = self.folder / FAILURES / str(result.number)
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(self.ground.home, kept)
            self.say(f"  kept in {kept}; again: {self.command(result.number)}")

    def command(self, number: int) -> str:
        """The command that disturbs study `number` again."""
        only = "" if set(self.kinds) == set(KINDS) else f" --kinds {shlex.quote(','.join(self.kinds))}"
        return f"python -m tests.chaos --seed {self.seed}{only} --study {number}"


class _Study:
    """One small study on its way to its end."""

    def __init__(
        self, campaign: Campaign, small: SmallStudy, name: str, rng: random.Random, result: Disturbed
    ) -> None:
        self.campaign, self.small, self.name, self.rng, self.result = campaign, small, name, rng, result
        self.ground = campaign.ground
        self.folder = self.ground.home / "runs" / name
        self._clear()
        write_home(self.ground.home, epochs=EPOCHS)
        shutil.copy(campaign.empty_mlflow, self.ground.stores / "mlflow.db")
        server = small.tracking == "server"
        self.database = self.ground.server.database if server else self.ground.stores / "mlflow.db"
        self.has = {small.tracking, small.record, CLUSTER if small.cluster else OWN_RAY}
        self.has |= {DISK} if self.ground.disk is not None else set()
        self.checker = Checker(self.folder, self.database)
        self.log: list[str] = []
        self.synchronised = True

    def _clear(self) -> None:
        """Remove what the last study left; a file system of its own stays mounted."""
        disk, home = self.ground.disk, self.ground.home
        mounted = [] if disk is None else [disk.folder, disk.share]
        for folder in (home, *mounted):
            for path in {*folder.glob("*")} - {*mounted}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def run(self, points: list[dict[str, int]], most: int) -> list[dict[str, int]]:
        """To its end, with at most so many events; returns the points of each leg."""
        legs = [[], ["--trials", str(self.small.trials + self.small.more_trials)]]
        found = []
        for leg, options in enumerate(legs[: 2 if self.small.more_trials else 1]):
            events = min(most - len(self.result.happened), MORE_EVENTS if leg else EVENTS)
            found.append(self._leg(options, points[leg], events))
            if not self.synchronised and not self.result.problems:
                self._synchronise()
            if self.result.problems:
                break
            self.checker.start_anew()
        return found

    def _synchronise(self) -> None:
        past = self._live(["--sync", self.name, *self._data()], [])
        if past.code != 0:
            self.result.problems.append(f"--sync: exit code {past.code}: {past.output[-300:]}")

    def _plan(self, points: dict[str, int], first: str, missing: int) -> list[Event]:
        if missing <= 0:
            return []
        return plan_life(self.rng, points, first, self.has, most=missing, names=self.campaign.kinds)

    def _leg(self, options: list[str], points: dict[str, int], events: int) -> dict[str, int]:
        first, total, goal, begun = START, Counter[str](), len(self.result.happened) + events, False
        for _ in range(MOST_LIVES):
            missing = goal - len(self.result.happened)
            plan = self._plan(points, first, missing)
            past = self._live(self._arguments(options if not begun else []), plan)
            begun = begun or past.stage != START
            total += past.points
            first = max(first, past.stage, key=STAGES.index)
            finished = begun and self._finished()
            problems = [*past.problems, *judge(past, self.folder, finished), *self.checker.check()]
            if problems:
                self.result.problems += problems
                self.result.problems.append(
                    f"the last events: {past.happened}; output: {past.output[-1500:]}"
                )
                break
            if finished:  # perhaps killed after that was recorded, which is the last thing to do
                hit = {kind.partition(" ")[0] for kind, _, _ in past.happened}
                # With the terminal gone it may have said --sync where nobody heard it.
                self.synchronised = "--sync" not in past.output and not hit & {"disk", "MLflow", "terminal"}
                break
        else:
            self.result.problems.append(f"not finished after {MOST_LIVES} starts")
        return dict(total)

    def _live(self, arguments: list[str], plan: list[Event]) -> Past:
        self._tracking_uri()  # a server that was killed at the end of the last life is there again
        forked = not self.result.lives or self.rng.randrange(OWN_INTERPRETER) > 0
        self.result.lives += 1
        past = Life(self.ground, arguments, plan, self.checker.check, self.rng, forked=forked).run()
        self.result.happened += past.happened
        self.log.append(f"{arguments} {plan} -> {past.code} {past.happened}\n{past.output}\n")
        (self.ground.home / "chaos.log").write_text("\n".join(self.log), encoding="utf-8")
        return past

    def _finished(self) -> bool:
        if not (self.folder / run_folder.STUDY).is_file():
            return False
        return str(record.read_record(self.folder).user_attrs.get(record.STANDING)).startswith("finished")

    def _arguments(self, options: list[str]) -> list[str]:
        small = self.small
        common = [*self._data(), "--workers", str(small.workers)]
        if small.cluster:
            common += ["--ray-address", self.ground.nodes.address]
        if (self.folder / run_folder.STUDY).is_file():
            return [*common, "--resume", self.name, *options]
        stores = ["--tracking-uri", self._tracking_uri()]
        if small.record == "sqlite":
            stores += ["--storage", f"sqlite:///{self.ground.stores}/study.db"]
        if small.record == "postgresql":
            assert self.ground.database is not None
            stores += ["--storage", self.ground.database.url]
        return [*common, "--space", "space.toml", "--study", self.name, *small.options(), *stores]

    def _tracking_uri(self) -> str:
        if self.small.tracking == "server":
            self.ground.server.start_if_down()
            return self.ground.server.uri
        return f"sqlite:///{self.database}"

    def _data(self) -> list[str]:
        return ["--data-dir", "data"]

    def digest(self) -> dict[str, Any]:
        """See `checks.digest`."""
        return digest(self.folder, self.database, order=self.small.workers == 1)

    def held(self) -> list[str]:
        """Whether MLflow holds exactly what record and run folder hold."""
        forget_addresses()
        try:
            assert_held(self._tracking_uri(), self.folder)
        except AssertionError:
            return [f"MLflow does not hold what the study holds: {traceback.format_exc()[-600:]}"]
        finally:
            forget_addresses()
        return []
