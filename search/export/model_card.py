"""``best/README.md``: what the exported model is, what it is good for, and how its numbers came about."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rigsl.config import MODALITIES
from rigsl.files import write_text
from rigsl.wording import percent
from search.confirm.final_record import FinalRecord, TestRecord
from search.plan.plan import Plan
from search.run_folder import BEST, CARD

_CARD = """\
# RIGSL on {corpus}: {name}

Recognises the emotion of every utterance of a conversation ({classes}) from {modalities}.
RIGSL (Xiong et al., ICME 2025), backbone {backbone}, {parameters} searched hyperparameters; weights of seed
{seed}, the best on validation of {count} with this configuration.

| weighted F1 | validation | test |
|---|---|---|
| this checkpoint | {validation} | {test} |
{rows}
{claim}

## How the numbers came about

- Trained on the training split; epochs, configurations and this checkpoint were chosen on validation.
  {openings}
- Configuration: trial {trial} of study `{study}`, search score {search}; `config.toml` holds every value.
- Corpus content hash `{corpus_hash}`, commit `{commit}`.

## Use

```sh
python run_search.py --rerun {folder}   # trains it again and compares
python -m rigsl test --checkpoint {folder}
python -m rigsl predict --checkpoint {folder} --csv conversation.csv   # open features: extra `features`
```

## Limits

Trained on acted dialogues in English ({dataset}); labels are one annotation scheme's. Rare classes are
recognised worst: see the F1 of each class in `metrics.json`. Not fit for judging real people.
"""


def write_model_card(plan: Plan, metrics: Mapping[str, Any], final: FinalRecord, claim: str) -> Path:
    """Write the card beside the weights.

    Args:
        metrics: the content of ``metrics.json``.
        final: the content of ``final.json``.
        claim: the study's result in one sentence.
    """
    folder = plan.folder / BEST
    shown = Path("runs") / plan.name / BEST
    times = "once" if len(final.openings) == 1 else f"{len(final.openings)} times"
    assert final.winner is not None
    assert final.test is not None
    config = final.winner.config
    text = _CARD.format(
        name=plan.name,
        study=plan.name,
        corpus=plan.corpus.name,
        dataset=plan.space.dataset,
        classes=", ".join(plan.corpus.classes),
        modalities=" and ".join(MODALITIES[letter] for letter in config["modals"]),
        backbone=config["backbone"],
        parameters=len(final.winner.params),
        seed=metrics["seed"],
        count=f"{metrics['test_seeds']} trainings" if metrics["test_seeds"] > 1 else "one training",
        validation=percent(metrics["validation"]["weighted_f1"]),
        test=percent(metrics["test"]["weighted_f1"]),
        rows=_rows(final.test),
        claim=claim,
        openings=f"Test was opened {times}.",
        trial=metrics["trial"],
        search=percent(metrics["search_weighted_f1"]),
        corpus_hash=metrics["corpus_hash"][:12],
        commit=metrics["commit"][:12],
        folder=shown,
    )
    write_text(folder / CARD, text)
    return folder / CARD


def _rows(test: TestRecord) -> str:
    """Mean and deviation over the seeds, of winner and baseline."""
    lines = []
    for who in ("winner", "baseline"):
        side, validation = test.side(who), test.validation.get(who, ())
        if side is None or side.weighted_f1.std is None:
            continue
        scores = side.weighted_f1
        mean = percent(sum(validation) / len(validation)) if validation else ""
        spread = f"{percent(scores.mean)} ± {100 * side.weighted_f1.std:.2f}"
        lines.append(f"| {who}, mean of {len(scores.values)} seeds | {mean} | {spread} |\n")
    return "".join(lines)
