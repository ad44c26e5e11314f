"""After the search: finalists, one test of winner and baseline, and what is said of them (``final.json``).

Every training of this stage lies in ``final/`` of the run folder until the stage is over; an interrupted one
goes on where it was.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from rigsl.config import RIGSLConfig
from rigsl.data.corpus import Corpus
from search import run_folder
from search.confirm import summary
from search.confirm.evaluation import Models, open_test, was_tested
from search.confirm.final_record import (
    ConfigurationRecord,
    FinalistsRecord,
    PaperRecord,
    PaperScores,
    TestRecord,
    read_final_record,
    write_final_record,
)
from search.confirm.race import Finalist, Race, identity, top
from search.confirm.trainings import (
    Ends,
    Job,
    JobSearcher,
    JobWatcher,
    Listed,
    Queue,
    Results,
    Then,
)
from search.execution.tune_run import run_on_ray
from search.plan.plan import Plan
from search.record import lineage, record
from search.record.lineage import Stage
from search.run_folder import MODEL, TRAININGS, TRIALS


@dataclass(frozen=True)
class Chosen:
    """The checkpoint that a study keeps."""

    model: Path  #: its folder
    trial: int | None  #: whose configuration it has
    seed: int
    score: float  #: on validation, as its training reported it
    epochs: int
    best_epoch: int
    whole: bool  #: trained to its last epoch
    search_score: float  #: of the trial, in the search
    lineage: Sequence[Stage] = ()  #: of a child of population based training, itself the last


class Final:
    """The final stage of one study.

    Args:
        plan: of the study.
        study: its record.
        watcher: follows the trainings on the terminal.
        said: hears what the stage is at.
        interrupted: whether the user wants to stop.
    """

    def __init__(
        self,
        plan: Plan,
        study: optuna.Study,
        watcher: JobWatcher,
        said: Callable[[str], object],
        interrupted: Callable[[], bool],
    ) -> None:
        self.plan, self.study, self.watcher = plan, study, watcher
        self.said, self.interrupted = said, interrupted
        self.options, self.folder = plan.final, plan.folder / TRAININGS
        self.results = Results(self.folder)
        self.corpus = plan.corpus.without_test_labels()
        self.seeds = self.options.finalist_numbers(plan.seed)

    def run(self) -> Chosen | None:
        """Everything; None where the user interrupted it, or no trial finished an epoch."""
        found = top(self.study, self._configs(), max(1, self.options.finalists))
        if not found:
            return None
        race = Race(found, self.seeds if self.options.finalists else [])
        if race.seeds:
            self.said(
                f"finalists: the best {len(found)} configurations with {len(race.seeds)} new seeds each"
            )
        # One loop for both: the workers stay.
        self._train(Then(race, lambda: self._test_queue(self._winner(race))), self.corpus)
        if self.interrupted():
            return None
        winner = self._winner(race)
        self._note_finalists(race, winner)
        chosen, models = self._trained(winner)
        tested = open_test(self.plan.folder, self.plan.corpus, models, self.plan.workers)
        difference = None
        if "baseline" in tested:
            difference = summary.compare(tested["winner"], tested["baseline"], self.plan.seed)
        scores = {who: summary.describe(runs, self.plan.seed) for who, runs in tested.items()}
        test = TestRecord(
            seeds=tested["winner"].seeds,
            winner=scores["winner"],
            baseline=scores.get("baseline"),
            difference=difference,
            validation={one.who: self._validation(one) for one in models},
        )
        paper = self._paper(winner) if self.options.protocol == "paper" else None
        self._note(test=test, paper=paper)
        return None if self.interrupted() else chosen

    def clean(self, chosen: Chosen | None) -> None:
        """Drop the weights that are not kept: what is known of them is in ``final.json``."""
        for path in self.folder.glob(f"*/{MODEL}"):
            if chosen is None or path != chosen.model:
                shutil.rmtree(path, ignore_errors=True)

    def _winner(self, race: Race) -> Finalist:
        """Who won; the search's best where there was no final, or nobody came through it."""
        return race.winner() or race.finalists[0]

    def _note_finalists(self, race: Race, winner: Finalist) -> None:
        ranked = race.ranked()
        gaps = [one.search_score - one.mean for one in ranked if one.scores]
        finalists = FinalistsRecord(
            seeds=tuple(race.seeds),
            epochs=self.plan.epochs,
            candidates=tuple(one.record(race.seeds, winner=one is winner) for one in ranked),
            optimism=float(np.mean(gaps)) if gaps else None,
        )
        self._note(
            finalists=finalists if race.seeds else None,
            winner=ConfigurationRecord(
                winner.trial, winner.config.to_dict(), dict(winner.params), winner.key
            ),
            baseline=self._baseline_record(),
        )

    def _baseline_record(self) -> ConfigurationRecord | None:
        config = self._baseline()
        if config is None:
            return None
        params = dict(self.plan.space.starts[0])
        return ConfigurationRecord(self._trial_of(config), config.to_dict(), params, identity(config))

    def _test_queue(self, winner: Finalist) -> Queue:
        """The trainings that are tested: winner and baseline, seed after seed."""
        seeds = self.options.test_numbers(self.plan.seed)
        sides = {f"trial {winner.trial}": winner.config}
        if (baseline := self._baseline()) is not None:
            sides["the baseline"] = baseline
        jobs = [self._job(label, config, seed) for seed in seeds for label, config in sides.items()]
        known = {job.name: job for job in jobs}  # the winner can be the baseline
        lost = self._lost(winner)
        for job in lost:
            self.results.drop(job)
        left = [
            job for job in {**known, **{job.name: job for job in lost}}.values() if not self.results.get(job)
        ]
        if left:
            self.said(f"training for the test: {' and '.join(sides)} with {len(seeds)} new seeds each")
        return Listed(left)

    def _lost(self, winner: Finalist) -> list[Job]:
        """Trainings whose weights are needed and gone: an earlier end of the study has dropped them."""
        chosen, models = self._trained(winner)
        needed = {chosen.model} if was_tested(self.plan.folder, models) else set[Path]()
        if not needed:
            needed = {path for one in models for path in one.folders.values()}
        configs = {one.who: one.folders for one in models}
        found = []
        for who, folders in configs.items():
            config = winner.config if who == "winner" else self._baseline()
            for seed, path in folders.items():
                if path in needed and config is not None and not path.is_dir():
                    found.append(self._job(who, config, seed))
        return found

    def _trained(self, winner: Finalist) -> tuple[Chosen, list[Models]]:
        """The model that is kept, the winner's best on validation, and all that are tested."""
        label, baseline = f"trial {winner.trial}", self._baseline()
        seeds = self.options.test_numbers(self.plan.seed)
        chosen = self._kept(winner, seeds)
        if chosen is None:  # none were asked for, or all failed
            chosen = self._kept(winner, self.seeds) or self._of_search(winner)
            return chosen, [Models("winner", label, {chosen.seed: chosen.model})]
        models = [Models("winner", label, self._models(winner.config, seeds))]
        if baseline is not None and (folders := self._models(baseline, seeds)):
            models.append(Models("baseline", "the baseline", folders))
        return chosen, models

    def _paper(self, winner: Finalist) -> PaperRecord:
        """The field's protocol: train on train and dev, report the best test epoch. Optimistic."""
        seeds = self.options.test_numbers(self.plan.seed) or [self.plan.seed]
        sides = {"winner": winner.config, "baseline": self._baseline()}
        jobs = {
            who: [self._job(f"best test epoch, {who}", config, seed, "paper-") for seed in seeds]
            for who, config in sides.items()
            if config is not None
        }
        if any(self.results.get(job) is None for side in jobs.values() for job in side):
            what = f"{len(seeds)} trainings each of {' and '.join(jobs)}, tested after every epoch"
            opened = read_final_record(self.plan.folder).opened(what, "paper")
            write_final_record(self.plan.folder, opened)
        self.said("best test epochs on train + dev (the field's protocol; optimistic)")
        everything = {job.name: job for side in jobs.values() for job in side}
        self._train(Listed(everything.values()), best_test_epoch(self.plan.corpus))
        found = {who: [self.results.get(job) for job in side] for who, side in jobs.items()}
        known = {
            who: [one.score for one in side if one is not None and one.score is not None]
            for who, side in found.items()
        }
        parts = {who: _paper_scores(values) for who, values in known.items() if values}
        return PaperRecord(tuple(seeds), parts.get("winner"), parts.get("baseline"))

    def _train(self, queue: Queue, corpus: Corpus) -> None:
        self.folder.mkdir(exist_ok=True)
        searcher = JobSearcher(queue, self.results, self.plan.workers.count, self.watcher)
        run_on_ray(self.plan, corpus, searcher, stopper=Ends(self.interrupted), trials=self.folder)

    def _job(self, label: str, config: RIGSLConfig, seed: int, prefix: str = "") -> Job:
        return Job(
            f"{prefix}{identity(config)[:12]}-{seed}", f"{label}, seed {seed}", config.replace(seed=seed)
        )

    def _models(self, config: RIGSLConfig, seeds: Iterable[int]) -> dict[int, Path]:
        """The checkpoints of the trainings that did not fail."""
        jobs = {seed: self._job("", config, seed) for seed in seeds}
        ended = {seed: self.results.get(job) for seed, job in jobs.items()}
        return {
            seed: self.folder / jobs[seed].name / MODEL
            for seed, result in ended.items()
            if result is not None and result.score is not None
        }

    def _kept(self, one: Finalist, seeds: Iterable[int]) -> Chosen | None:
        """Of a configuration's trainings with `seeds`, the best on validation."""
        best: Chosen | None = None
        for seed, model in self._models(one.config, seeds).items():
            result = self.results.get(self._job("", one.config, seed))
            if result is None or result.score is None or (best is not None and result.score <= best.score):
                continue
            best = Chosen(
                model, one.trial, seed, result.score, result.epochs, result.best_epoch, True, one.search_score
            )
        return best

    def _of_search(self, one: Finalist) -> Chosen:
        """The checkpoint that a trial left."""
        trial = self.study.get_trials(deepcopy=False)[one.trial]
        attributes = trial.user_attrs
        model = run_folder.trial_folder(self.plan.folder, one.trial) / MODEL
        stages = lineage.stages(self.study, self.plan.folder / TRIALS, trial)
        score, best = one.search_score, attributes["best_epoch"]
        return Chosen(
            model, one.trial, self.plan.seed, score, stages[-1].until, best, one.complete, score, stages
        )

    def _validation(self, models: Models) -> tuple[float, ...]:
        """The validation scores of the trainings that were tested."""
        folders = {path.parent.name: path for path in models.folders.values()}
        scores = [self.results.get(Job(name, "", RIGSLConfig())) for name in folders]
        return tuple(one.score for one in scores if one is not None and one.score is not None)

    def _configs(self) -> Mapping[int, RIGSLConfig]:
        scored = record.scored(self.study)
        return {trial.number: self._config(trial) for trial in scored}

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
        found = [number for number, one in self._configs().items() if identity(one) == identity(config)]
        return min(found, default=None)

    def _note(self, **parts: Any) -> None:
        write_final_record(
            self.plan.folder, dataclasses.replace(read_final_record(self.plan.folder), **parts)
        )


def _paper_scores(values: Sequence[float]) -> PaperScores:
    scores = summary.summary(values)
    return PaperScores(scores.values, scores.mean, scores.std)


def best_test_epoch(corpus: Corpus) -> Corpus:
    """The corpus of the field's protocol: train and dev are trained on, epochs are chosen on test."""
    splits = np.where(corpus.splits == 2, 1, 0).astype(corpus.splits.dtype)  # 0: train, 1: dev, 2: test
    splits.flags.writeable = False
    return dataclasses.replace(corpus, name=f"{corpus.name} (best test epoch)", splits=splits)
