"""The search space of a corpus that has none in ``spaces/``: ``spaces/default.toml``, fitted to its size.

The numbers of that file suit MELD's open features, on which they were tuned: 9,989 training utterances in
1,038 dialogues. Larger corpora get wider models; smaller ones get narrower models, smaller batches and more
epochs, so that a trial has as many updates. A short training measures the machine, which gives the minutes of
the budgets, and still narrower models where a search would last too long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tomli_w

from rigsl.config import RIGSLConfig, parse_toml, read_toml_text
from rigsl.data.corpus import Corpus
from rigsl.memory import Shapes, estimate_epoch_seconds
from rigsl.modalities import TEXT, modality_names
from rigsl.wording import counted, listed
from search.plan.speed import core_speed
from search.resources.workers import Workers
from search.run_folder import DEFAULT_SPACE, ROOT
from search.space.space import Space, parse_space

#: Training utterances from which on a corpus gets the next widths.
WIDTHS = {
    0: (16, 24, 32),
    1_000: (32, 48, 64),
    4_000: (48, 64, 96),
    20_000: (64, 96, 128),
    60_000: (128, 192, 256),
}
#: A batch has at most so many utterances on average, and an epoch at least so many batches where it can.
BATCH_UTTERANCES, MIN_BATCHES, MAX_BATCH = 300, 8, 32
#: Updates of a trial, and before weak ones are stopped: averaged weights start slowly.
UPDATES, GRACE_UPDATES = 780, 260
MIN_EPOCHS, MAX_EPOCHS = 8, 60
#: Share of its epochs that an average trial trains, since weak ones are stopped.
SHARE = 0.5
#: Minutes above which a search gets narrower models, if these take at most that share of the time, and the
#: minutes after which it ends in any case.
LONG_MINUTES, WORTH, MAX_MINUTES = 60, 0.75, 480


@dataclass(frozen=True)
class DerivedSpace:
    """A space that was made for a corpus, the workers that it was made for, and what it is, in lines."""

    space: Space
    workers: Workers
    lines: tuple[str, ...]


def derived_space(
    corpus: Corpus, dataset: str, features: str, workers_of: Callable[[Space], Workers]
) -> DerivedSpace:
    """The space of a corpus with training and validation dialogues.

    Args:
        corpus: what is searched on.
        dataset: its name.
        features: "open" or "official".
        workers_of: space -> the workers of its study.

    Raises:
        UserError: the machine has no such workers.
    """
    train = corpus.dialogues("train")
    utterances = int(corpus.lengths[train].sum())
    fitting = [widths for smallest, widths in WIDTHS.items() if utterances >= smallest]
    widest = _parsed(_content(corpus, dataset, features, fitting[-1]))
    workers = workers_of(widest)
    kind = "gpu" if workers.device == "cuda" else "cpu"
    speed = core_speed(_baseline(widest), corpus)
    content, seconds = _with_budgets(corpus, widest, speed, workers.count)
    for widths in reversed(fitting[:-1]):
        narrower = _parsed(_content(corpus, dataset, features, widths))
        other, faster = _with_budgets(corpus, narrower, speed, workers.count)
        if content["budget"][kind]["minutes"] <= LONG_MINUTES or faster[kind] > WORTH * seconds[kind]:
            break
        content, seconds = other, faster
    data = f"{counted(utterances, 'training utterance')} in {counted(len(train), 'dialogue')}"
    where = "GPU, estimated from the speed of a core here" if kind == "gpu" else "core of this machine"
    lines = (
        f"for {data}; {listed(modality_names(corpus.features))}",
        f"hidden_dim {_choices(content, 'hidden_dim')}; batch_size {_choices(content, 'batch_size')}",
        f"an epoch of the baseline takes about {seconds[kind]:.2g} s on a {where}",
    )
    head = [f"Derived from spaces/{DEFAULT_SPACE} for {dataset}", *lines]
    return DerivedSpace(_parsed(content, "".join(f"# {line}\n" for line in head) + "\n"), workers, lines)


def _baseline(space: Space) -> RIGSLConfig:
    return space.config(space.starts[0], seed=0)


def _with_budgets(
    corpus: Corpus, space: Space, speed: float, workers: int
) -> tuple[dict[str, Any], dict[str, float]]:
    """The content of a space with the minutes that its trials take, and seconds of the baseline's epoch.

    Both are for "cpu" and "gpu".
    """
    content, baseline, shapes = parse_toml(space.text, space.path), _baseline(space), Shapes.of(corpus)
    seconds = {
        kind: speed * estimate_epoch_seconds(baseline, shapes, device=device)
        for kind, device in (("cpu", "cpu"), ("gpu", "cuda"))
    }
    for kind, table in content["budget"].items():
        table["minutes"] = _minutes(table["trials"], baseline.epochs * seconds[kind], workers)
    return content, seconds


def _parsed(content: dict[str, Any], head: str = "") -> Space:
    return parse_space(head + tomli_w.dumps(content), ROOT / "spaces" / DEFAULT_SPACE)


def _content(corpus: Corpus, dataset: str, features: str, widths: Sequence[int]) -> dict[str, Any]:
    """The default space, with the dataset, the modalities and what depends on the size of the corpus."""
    path = ROOT / "spaces" / DEFAULT_SPACE
    content = parse_toml(read_toml_text(path), path)
    train = corpus.dialogues("train")
    batch = _batch(len(train), float(corpus.lengths[train].mean()))
    updates = math.ceil(len(train) / batch)  # of an epoch
    epochs = min(max(MIN_EPOCHS, round(UPDATES / updates)), MAX_EPOCHS)
    fixed = {"modals": modality_names(corpus.features)} | content["fixed"] | {"epochs": epochs}
    if TEXT not in corpus.features:
        fixed["av_using_lstm"] = True  # otherwise no network would read a dialogue in its order
    content |= {"fixed": fixed}
    _rescale(content, "hidden_dim", widths)
    _rescale(content, "batch_size", (max(1, batch // 2), batch, 2 * batch))
    content["scheduler"]["grace"] = max(1, min(math.ceil(GRACE_UPDATES / updates), epochs // 3))
    return {"study": {"dataset": dataset, "features": features}} | content


def _batch(dialogues: int, length: float) -> int:
    """Dialogues of a batch, a power of two; `length`: utterances of a dialogue on average."""
    most = min(BATCH_UTTERANCES / length, dialogues / MIN_BATCHES, MAX_BATCH)
    return int(2 ** math.floor(math.log2(max(1.0, most))))


def _rescale(content: dict[str, Any], name: str, values: Sequence[int]) -> None:
    """Give a choice other values, of which start points take those at the same places."""
    old = content["space"][name]["values"]
    for start in content["start"]:
        start[name] = values[old.index(start[name])]
    content["space"][name]["values"] = sorted(set(values))


def _minutes(trials: int, seconds: float, workers: int) -> int:
    """Minutes of so many trials, each of which takes some `seconds` if it is not stopped."""
    return min(max(1, math.ceil(trials * SHARE * seconds / workers / 60)), MAX_MINUTES)


def _choices(content: dict[str, Any], name: str) -> str:
    *first, last = content["space"][name]["values"]
    return f"{', '.join(map(str, first))} or {last}"
