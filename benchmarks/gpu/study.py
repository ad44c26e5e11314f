"""A whole search with the bundled features: killed once, resumed, tested, exported, and trained again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from benchmarks.gpu.context import Context
from benchmarks.gpu.results import Row
from benchmarks.gpu.searches import STUDY, epochs, search
from benchmarks.speed.overhead import SPACE as SMALL_SPACE
from rigsl.training.checkpoint import WEIGHTS
from rigsl.wording import counted, percent
from search.results import StudyResults, load_study
from search.run_folder import BEST, REPORT, RERUN, ROOT
from search.space.space import read_space

RUN = str(ROOT / "run_search.py")
#: What the rerun prints if it is exact.
EQUAL = "all scores are equal to the last digit"


def rows(context: Context) -> Iterator[Row]:
    """A row for each stage."""
    folder, trials, few = context.scratch, context.choose(4, 3), str(context.choose(2, 1))
    space = write_space(folder, context.quick)
    options = [
        "--study", STUDY, "--space", str(space), "--epochs", "2",
        "--trials", str(trials), "--time-budget", "1h", "--finalists", few, "--finalist-seeds", few,
        "--test-seeds", "1", *resources(context),
    ]  # fmt: skip
    with search(folder, RUN, *options) as first:
        start = time.monotonic()
        begun = first.wait_until(lambda: bool(epochs(folder)), context.seconds_left())
        first_epoch = time.monotonic() - start
        middle = begun and first.wait_until(lambda: len(epochs(folder)) >= 2, context.seconds_left())
        if not middle:
            first.wait(1.0)
            raise RuntimeError(f"the search ended before it could be killed: {first.last_line()}")
        before = epochs(folder)
        first.kill()
    values = {"seconds": f"{time.monotonic() - start:.0f}"}
    yield Row(
        "searched, then killed with SIGKILL",
        values,
        note=f"first epoch after {first_epoch:.0f} s; {sum(before.values())} epochs of {len(before)} trials",
    )
    start = time.monotonic()
    with search(folder, RUN, "--resume", STUDY) as resumed:
        resumed.wait(context.seconds_left())
    results = load_study(folder / "runs" / STUDY)
    yield _resumed(results, trials, before, time.monotonic() - start)
    yield _tested(results)
    yield _exported(results)
    start = time.monotonic()
    with search(folder, RUN, "--rerun", str(results.folder / BEST)) as again:
        again.wait(context.seconds_left())
        equal = EQUAL in " ".join(again.output.split())
    note = "every score, to the last digit" if equal else "the scores are not equal"
    yield Row("the winner, trained again", {"seconds": f"{time.monotonic() - start:.0f}"}, equal, note)


def resources(context: Context) -> list[str]:
    """Two trials at a time."""
    if context.cuda:
        return ["--device", "cuda", "--gpus-per-trial", "0.5"]
    return ["--device", "cpu", "--workers", "2"]


def write_space(folder: Path, quick: bool) -> Path:
    """The bundled space, or a small one, whose trainings are deterministic; -> its file."""
    text = SMALL_SPACE.format(epochs=2) if quick else (ROOT / "spaces" / "meld_open.toml").read_text("utf-8")
    path = folder / "space.toml"
    path.write_text(text.replace("[fixed]\n", "[fixed]\ndeterministic = true\n"), encoding="utf-8")
    assert read_space(path).fixed["deterministic"]
    return path


def _resumed(results: StudyResults, trials: int, before: dict[int, int], seconds: float) -> Row:
    """All trials have ended well, and none has lost an epoch that it had before the kill."""
    states = Counter(trial.state for trial in results.trials)
    kept = all(len(results.trials[number].curve) >= count for number, count in before.items())
    met = kept and len(results.trials) == trials and set(states) <= {"complete", "pruned"}
    note = ", ".join(f"{count} {state}" for state, count in states.items())
    return Row("resumed, to its end", {"seconds": f"{seconds:.0f}"}, met, f"trials: {note}")


def _tested(results: StudyResults) -> Row:
    """Finalists have raced, and winner and baseline were tested once."""
    final = results.final
    if final.test is None or final.finalists is None:
        return Row("finalists and test", ok=False, note="there is no test score")
    score = percent(final.test.winner.weighted_f1.mean)
    finalists = counted(len(final.finalists.candidates), "finalist")
    note = f"{finalists}; the winner on test: {score}"
    return Row("finalists and test", ok=len(final.openings) == 1, note=note)


def _exported(results: StudyResults) -> Row:
    """What a study leaves is there."""
    best = results.folder / BEST
    wanted = [best / WEIGHTS, best / RERUN, results.folder / REPORT]
    missing = [path.name for path in wanted if not path.is_file()]
    note = f"missing: {', '.join(missing)}" if missing else "weights, rerun script and report"
    return Row("export", ok=not missing, note=note)
