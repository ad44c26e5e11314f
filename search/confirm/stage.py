"""The final stage of a study: finalists, and one test of winner and baseline; its record is ``final.json``.

All trainings of this stage keep their files in ``final/`` of the run folder until the stage is over. An
interrupted training continues where it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from rigsl.config import RIGSLConfig
from rigsl.data.folds import train_folds
from rigsl.inference.average import member_weights
from rigsl.training.checkpoint import WEIGHTS
from rigsl.wording import counted
from search import run_folder
from search.confirm.evaluation import (
    WINNER,
    Checkpoints,
    open_test,
    was_tested,
)
from search.confirm.evidence import gather_evidence
from search.confirm.explanation import Explanation
from search.confirm.final_record import (
    ConfigurationRecord,
    FinalistsRecord,
    PaperRecord,
    TestRecord,
    read_final_record,
    write_final_record,
)
from search.confirm.paper import paper_scores
from search.confirm.race import Finalist, Race, top
from search.confirm.runner import TrainingRunner
from search.confirm.tested import TestedTrainings, record_of
from search.confirm.trainings import (
    Block,
    Job,
    JobChain,
    JobList,
    JobWatcher,
    Queue,
    identity,
    make_job,
)
from search.plan.plan import Plan
from search.record import lineage, record
from search.record.lineage import Stage
from search.run_folder import AVERAGE, BEST, MODEL, TAUGHT, TRIALS
from search.trust.assess import assess

#: Parts of ``final.json`` that are those of one winner, and not of another.
OF_A_WINNER = ("test", "paper", "trust", "explanation")


@dataclass(frozen=True)
class Member:
    """A training of the average."""

    model: Path  #: its checkpoint folder
    fold: int | None  #: of train, that it left out


@dataclass(frozen=True)
class ChosenCheckpoint:
    """The checkpoint that a study exports."""

    model: Path  #: its folder
    trial: int | None  #: of the search, with the same configuration
    seed: int
    score: float  #: on validation, as its training reported it
    epochs: int
    best_epoch: int
    whole: bool  #: trained to its last epoch
    search_score: float  #: of the trial, in the search
    fold: int | None = None  #: of a trial that left it out and was validated on it, beside dev
    members: Sequence[Member] = ()  #: of the average, which is exported beside it
    taught: ChosenCheckpoint | None = None  #: the taught model that is exported beside it
    teacher: Path | None = None  #: of a taught model: the file of its teacher
    lineage: Sequence[Stage] = ()  #: of a trial with parents (population based training), itself the last


class FinalStage:
    """The final stage of one study.

    Args:
        plan: of the study.
        study: its open record.
        watcher: follows the trainings.
        on_phase: called with a sentence when a part of the stage begins.
        interrupted: whether the user wants to stop.
    """

    def __init__(
        self,
        plan: Plan,
        study: optuna.Study,
        watcher: JobWatcher,
        on_phase: Callable[[str], object],
        interrupted: Callable[[], bool],
    ) -> None:
        self.plan, self.study, self.options = plan, study, plan.final
        self.on_phase, self.interrupted = on_phase, interrupted
        self.finalist_seeds, self.test_seeds = plan.final_seeds
        count = self.options.folds or 0
        first = int(plan.validation_folds > 0)  # trials were scored on the fold before it
        self.blocks = [
            Block(seed, number % count, count) if count else Block(seed)
            for number, seed in enumerate(self.finalist_seeds, start=first)
        ]
        self._watcher = watcher

    @cached_property
    def trainings(self) -> TrainingRunner:
        """Runs the trainings. Only they need the folds, and cutting folds imports scikit-learn for seconds:
        not before the first trial of a search."""
        plan, count = self.plan, self.options.folds
        folds = train_folds(plan.corpus, count, plan.seed) if count else None
        return TrainingRunner(
            plan.folder, plan.workers, plan.ray_address, self._watcher, self.interrupted, folds
        )

    def run(self) -> ChosenCheckpoint | None:
        """The whole stage; None if the user interrupted it, or no trial finished an epoch."""
        finalists = top(self.study, self._configs(), max(1, self.options.finalists))
        if not finalists:
            return None
        race = Race(finalists, self.blocks if self.options.finalists else [])
        if race.blocks:
            self.on_phase(_finalists_in_words(len(finalists), race.blocks))
        # One run of Ray for finalists and tests: the workers stay.
        queue = JobChain(race, lambda: self._test_queue(race))
        self.trainings.train(queue, self.plan.corpus.without_test_labels())
        winner = self._winner(race)
        if not self.interrupted() and (
            self._lost_trainings(race) or self.trainings.missing(self._jobs(race))
        ):
            # What was trained again came out with other weights than those tested, or makes another teacher:
            # everything is tested anew.
            self.trainings.train(self._test_queue(race), self.plan.corpus.without_test_labels())
        if self.interrupted():
            return None
        self._record_finalists(race, winner)
        chosen, checkpoints = self._trained(race)
        chosen = self._with_other_answers(chosen, race, {tested.side for tested in checkpoints})
        if not was_tested(self.plan.folder, checkpoints):
            self._record_trust(race, winner)  # now: what is expected of test cannot change afterwards
        if self.options.explain:
            self._explain()
        if self.interrupted():
            return None
        test = self._test(checkpoints)
        paper = self._paper(winner) if self.options.protocol == "paper" else None
        self._update_record(test=test, paper=paper)
        return None if self.interrupted() else chosen

    def clean(self, chosen: ChosenCheckpoint | None) -> None:
        """Remove the weights of all trainings but the chosen one; their results are in ``final.json``."""
        kept = [] if chosen is None else [one.model for one in (chosen, chosen.taught) if one is not None]
        self.trainings.clean(kept)

    # Finalists

    def _winner(self, race: Race) -> Finalist:
        """The winner of the race; the search's best if there was no race, or all finalists failed."""
        return race.winner() or race.finalists[0]

    def _record_finalists(self, race: Race, winner: Finalist) -> None:
        ranked = race.ranked()
        gaps = [finalist.search_score - finalist.mean for finalist in ranked if finalist.scores]
        comparable = not self.options.folds and not self.plan.validation_folds  # both scores are on dev
        finalists = FinalistsRecord(
            seeds=tuple(race.seeds),
            epochs=self.plan.epochs,
            candidates=tuple(finalist.record(race.seeds, winner=finalist is winner) for finalist in ranked),
            optimism=float(np.mean(gaps)) if gaps and comparable else None,
            folds=tuple(block.fold for block in race.blocks if block.fold is not None),
        )
        before = read_final_record(self.plan.folder).winner
        same = before is not None and before.config_hash == winner.key
        self._update_record(
            finalists=finalists if race.seeds else None,
            winner=ConfigurationRecord(
                winner.trial, winner.config.to_dict(), dict(winner.params), winner.key
            ),
            baseline=self._baseline_record(),
            **({} if same else dict.fromkeys(OF_A_WINNER)),
        )

    def _baseline_record(self) -> ConfigurationRecord | None:
        config = self._baseline()
        if config is None:
            return None
        params = dict(self.plan.space.starts[0])
        return ConfigurationRecord(self._trial_of(config), config.to_dict(), params, identity(config))

    # Test

    def _test_queue(self, race: Race) -> Queue:
        """The trainings that are tested or exported: winner and baseline, one seed after another."""
        lost, jobs = self._lost_trainings(race), self._jobs(race)
        self.trainings.forget(lost)  # only now: the teacher is what they have predicted
        distinct = {job.name: job for job in [*jobs, *lost]}
        missing = self.trainings.missing(distinct.values())
        if missing and not self.test_seeds:
            number = self._winner(race).trial
            self.on_phase(f"training trial {number}, the winner, on all of train, to export it")
        elif missing:
            winner = self._winner(race)
            sides = ["the winner"] if self._baseline() is None else [f"trial {winner.trial}", "the baseline"]
            seeds = counted(len(self.test_seeds), "new seed") + (" each" if len(sides) > 1 else "")
            taught = ", untaught and taught" if any(job.teacher is not None for job in jobs) else ""
            self.on_phase(f"training for the test: {' and '.join(sides)} with {seeds}{taught}")
        return JobList(missing)

    def _jobs(self, race: Race) -> list[Job]:
        """All that is trained after a race: for the test, and for the export where it needs one more.

        Without test seeds the winner's trial is exported. But of all trials only the search's best one has
        its model, and trainings of the finals that left a fold out are no substitute.
        """
        winner = self._winner(race)
        model = run_folder.trial_folder(self.plan.folder, winner.trial) / MODEL
        whole = self.test_seeds or any(block.fold is None for block in self.blocks)
        if whole or (model / WEIGHTS).is_file():
            return self._tested(race).jobs()
        return [make_job(f"trial {winner.trial}", winner.config, self.plan.seed)]

    def _lost_trainings(self, race: Race) -> list[Job]:
        """Ended trainings whose weights are needed, but were removed by an earlier end of the study.

        Needed are the weights of all that will be tested; of what was tested already, those to be exported.
        """
        winner, tested = self._winner(race), self._tested(race)
        jobs, members = self._jobs(race), tested.members()
        ended = not self.trainings.missing(jobs)
        best, taught = self._best_block(winner), tested.best_taught()
        exported = [] if best is None else [make_job(f"trial {winner.trial}", winner.config, best)]
        exported += [] if taught is None else [taught]
        if ended and was_tested(self.plan.folder, checkpoints := self._trained(race)[1]):
            averaged = any(tested.side == AVERAGE for tested in checkpoints)
            kept = member_weights(self.plan.folder / BEST / AVERAGE)
            lost = averaged and kept != self.trainings.weights(members)
            return self.trainings.without_weights([*exported, *(members if lost else [])])
        return self.trainings.without_weights([*jobs, *members, *(exported if ended else [])])

    def _best_block(self, winner: Finalist) -> Block | None:
        """Of the winner's trainings on all of train, the block of the best on validation; None: none ended.

        Those for the test come first; then those of the finals that left nothing out; then the one that is
        trained for the export.
        """
        whole = (
            [Block(seed) for seed in self.test_seeds],
            [one for one in self.blocks if one.fold is None],
            [Block(self.plan.seed)],
        )
        found = (self.trainings.best(winner.config, blocks) for blocks in whole)
        return next((best[0] for best in found if best is not None), None)

    def _trained(self, race: Race) -> tuple[ChosenCheckpoint, list[Checkpoints]]:
        """The checkpoint to export, the winner's best on validation, and all checkpoints to test."""
        winner = self._winner(race)
        label = f"trial {winner.trial}"
        chosen, folders = self._exported(winner), self.trainings.checkpoints(winner.config, self.test_seeds)
        if not folders:  # no test seeds were asked for, or all of their trainings failed
            return chosen, [Checkpoints(WINNER, label, winner.key, {chosen.seed: chosen.model})]
        first = Checkpoints(WINNER, label, winner.key, folders)
        checkpoints, others = self._tested(race).checkpoints(first)
        if was_tested(self.plan.folder, checkpoints):
            return chosen, checkpoints  # by an earlier version: test is not opened again for more answers
        return chosen, [*checkpoints, *others]

    def _tested(self, race: Race) -> TestedTrainings:
        """What is trained and tested after a race, which is over."""
        winner = self._winner(race)
        baseline = self._baseline()
        others = {} if baseline is None else {"the baseline": baseline}
        return TestedTrainings(
            self.plan, self.trainings, race.trained(), {f"trial {winner.trial}": winner.config} | others
        )

    def _exported(self, winner: Finalist) -> ChosenCheckpoint:
        """The winner's best checkpoint on dev; that of its trial if no other learned from all of train."""
        best = self._best_block(winner)
        if best is None:
            return self._search_checkpoint(winner)
        return self._checkpoint(winner, make_job("", winner.config, best))

    def _explain(self) -> None:
        """Train the path from the baseline to the winner, and record it."""
        final = read_final_record(self.plan.folder)
        if final.baseline is None or final.winner is None:
            return
        explanation = Explanation(self.plan, self.study, self.blocks, final.baseline, final.winner)
        missing = self.trainings.missing(explanation.jobs())
        if missing:
            self.on_phase(explanation.in_words())
            self.trainings.train(JobList(missing), self.plan.corpus.without_test_labels())
        if not self.interrupted():
            self._update_record(explanation=explanation.record(self.trainings))

    def _record_trust(self, race: Race, winner: Finalist) -> None:
        """Whether the search can be trusted, and what is expected of test."""
        evidence = gather_evidence(self.plan, self.trainings, race, winner, self._baseline())
        final = read_final_record(self.plan.folder)
        openings = len(final.openings)
        trust, before = assess(evidence, self.study, self.plan.space, openings), final.trust
        if before is None or dataclasses.replace(trust, at=before.at, openings=before.openings) != before:
            self._update_record(trust=trust)

    def _test(self, checkpoints: Sequence[Checkpoints]) -> TestRecord:
        """Open the test split, once; scores of all answers, and their differences to the baseline."""
        tested = open_test(self.plan.folder, self.plan.corpus, checkpoints, self.plan.workers)
        validation = {
            trained.side: tested[trained.side].validation
            or tuple(self.trainings.checkpoint_scores(trained.folders.values()))
            for trained in checkpoints
        }
        members = {trained.side: len(trained.folders) for trained in checkpoints if trained.averaged}
        members[TAUGHT] = members.get(AVERAGE, 0)  # its teacher consists of the same trainings
        return record_of(tested, validation, members, self.plan.seed)

    def _paper(self, winner: Finalist) -> PaperRecord | None:
        """The field's protocol: train on train + dev, report the best test epoch. Optimistic."""
        sides = {"winner": winner.config, "baseline": self._baseline()}
        known = {side: config for side, config in sides.items() if config is not None}
        seeds = self.test_seeds or [self.plan.seed]
        return paper_scores(self.plan, self.trainings, known, seeds, self.on_phase)

    # Checkpoints

    def _with_other_answers(
        self, chosen: ChosenCheckpoint, race: Race, sides: Collection[str]
    ) -> ChosenCheckpoint:
        """`chosen` with what is exported beside it, of those `sides` that were tested."""
        tested = self._tested(race)
        members = tested.members() if AVERAGE in sides else []
        taught = tested.best_taught() if TAUGHT in sides else None
        return dataclasses.replace(
            chosen,
            members=[Member(self.trainings.model(job), job.fold) for job in members],
            taught=None if taught is None else self._checkpoint(self._winner(race), taught),
        )

    def _checkpoint(self, finalist: Finalist, job: Job) -> ChosenCheckpoint:
        """The checkpoint of a finalist's training, which has ended well."""
        result = self.trainings.results.get(job)
        assert result is not None
        assert result.score is not None
        return ChosenCheckpoint(
            model=self.trainings.model(job),
            trial=finalist.trial,
            seed=job.config.seed,
            score=result.score,
            epochs=result.epochs,
            best_epoch=result.best_epoch,
            whole=True,
            search_score=finalist.search_score,
            teacher=job.teacher,
        )

    def _search_checkpoint(self, finalist: Finalist) -> ChosenCheckpoint:
        """The checkpoint of a finalist's trial in the search."""
        trial = self.study.get_trials(deepcopy=False)[finalist.trial]
        stages = lineage.stages(self.study, self.plan.folder / TRIALS, trial)
        return ChosenCheckpoint(
            model=run_folder.trial_folder(self.plan.folder, finalist.trial) / MODEL,
            trial=finalist.trial,
            seed=self.plan.seed,
            score=finalist.search_score,
            epochs=stages[-1].until,
            best_epoch=trial.user_attrs["best_epoch"],
            whole=finalist.complete,
            search_score=finalist.search_score,
            fold=0 if self.plan.validation_folds else None,
            lineage=stages,
        )

    # Configurations and record

    def _configs(self) -> Mapping[int, RIGSLConfig]:
        """Trial number -> configuration for training to the last epoch, of all trials with a score."""
        return {trial.number: self._config(trial) for trial in record.scored(self.study)}

    def _config(self, trial: FrozenTrial) -> RIGSLConfig:
        """The configuration of a trial's best epoch: a child may owe its score to its parent."""
        if lineage.origin(trial) is None:
            return self.plan.space.config(trial.params, self.plan.seed, epochs=self.plan.epochs)
        return lineage.stages(self.study, self.plan.folder / TRIALS, trial)[-1].config

    def _baseline(self) -> RIGSLConfig | None:
        """The first start point: the published configuration."""
        starts = self.plan.space.starts
        return self.plan.space.config(starts[0], self.plan.seed, epochs=self.plan.epochs) if starts else None

    def _trial_of(self, config: RIGSLConfig) -> int | None:
        """The first trial of the search with this configuration; None if there is none."""
        key = identity(config)
        numbers = [number for number, other in self._configs().items() if identity(other) == key]
        return min(numbers, default=None)

    def _update_record(self, **parts: Any) -> None:
        """Replace parts of ``final.json``."""
        folder = self.plan.folder
        write_final_record(folder, dataclasses.replace(read_final_record(folder), **parts))


def _finalists_in_words(finalists: int, blocks: Sequence[Block]) -> str:
    folds = f", scored on {blocks[0].folds} folds of train" if blocks[0].fold is not None else ""
    with_seeds = f"with {counted(len(blocks), 'new seed')}"
    if finalists == 1:
        return f"finalists: the best configuration {with_seeds}{folds}"
    return f"finalists: the best {finalists} configurations {with_seeds} each{folds}"
