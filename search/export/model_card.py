"""The model card ``best/README.md``: what the exported model is, its scores, how to use it, its limits."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rigsl.modalities import FROM_TRANSCRIPT, modality_names, read_modals
from rigsl.official.names import official_dataset
from rigsl.shell import dataset_option
from rigsl.wording import counted, listed, percent, plus_minus
from search.command_lines import in_project, page_command, page_path
from search.confirm.answers import CONFIGURATION, answers_of, fixed_before_test, several_answers
from search.confirm.final_record import FinalRecord, TestRecord
from search.run_folder import CARD, ROOT, write_file

_CARD = """\
# RIGSL on {corpus}: {name}

Recognises the emotion of every utterance of a conversation ({classes}) from {modalities}.
RIGSL (Xiong et al., ICME 2025), backbone {backbone}, {parameters}; weights of seed
{seed}, the best on validation of {trainings} with this configuration.

| weighted F1 | validation | test |
|---|---|---|
| this checkpoint | {validation} | {test} |
{rows}
{claim}

## How the numbers came about

- Trained on the training split; epochs, configurations and this checkpoint were chosen on validation.
  The test split was opened {openings}.{which}
- Configuration: trial {trial} of study `{study}`, search score {search}; `config.toml` holds every value.
{labels}- Corpus content hash `{corpus_hash}`, commit `{commit}`.

## Use

In the folder of the project:

```sh
{enter}{rerun}   # trains it again and compares the scores
python -m rigsl test --checkpoint {folder}{data}
python -m rigsl predict --checkpoint {folder}{data} {source}
```

## Limits

Trained on {dialogues}, labelled under one annotation scheme. Rare classes are
recognised worst: see the F1 of each class in `metrics.json`. Not fit for judging real people.
"""


def write_model_card(
    folder: Path, metrics: Mapping[str, Any], final: FinalRecord, classes: Sequence[str], claim: str
) -> Path:
    """Write the card beside the weights; returns its path.

    Args:
        folder: ``best/`` of the study.
        metrics: the content of ``metrics.json``.
        final: the content of ``final.json``.
        classes: names of the emotions.
        claim: the study's result in one sentence.
    """
    assert final.winner is not None
    assert final.test is not None
    config = final.winner.config
    modalities = read_modals(config["modals"])
    test_seeds, openings, runs = metrics["test_seeds"], len(final.openings), folder.parent.parent
    text = _CARD.format(
        name=metrics["study"],
        study=metrics["study"],
        corpus=_escaped(metrics["corpus"]),
        dialogues=_dialogues(metrics["dataset"]),
        data="".join(f" {shlex.quote(str(word))}" for word in dataset_option(metrics["dataset"])),
        source=_source(modalities),
        classes=_escaped(", ".join(classes)),
        modalities=listed(modality_names(modalities)),
        backbone=config["backbone"],
        parameters=counted(len(final.winner.params), "searched hyperparameter"),
        seed=metrics["seed"],
        trainings=counted(test_seeds, "training"),
        validation=percent(metrics["validation"]["weighted_f1"]),
        test=percent(metrics["test"]["weighted_f1"]),
        rows=_rows(final.test),
        claim=_escaped(claim),
        openings="once" if openings == 1 else f"{openings} times",
        trial=metrics["trial"],
        search=percent(metrics["search_weighted_f1"]),
        which=_which(final.test),
        labels=_escaped(_labels(metrics.get("labels_in_features", {}))),
        corpus_hash=metrics["corpus_hash"][:12],
        commit=metrics["commit"][:12],
        enter="" if in_project(runs) else f"cd {shlex.quote(str(ROOT))}\n",
        rerun=page_command(runs, "--rerun", folder),
        folder=shlex.quote(page_path(runs, folder)),
    )
    write_file(folder / CARD, text)
    return folder / CARD


def _escaped(text: str) -> str:
    """Text with names that others gave, such as classes: none of it is Markdown, HTML or a formula."""
    return re.sub(r"[\\`*\[\]|$]|<(?=[A-Za-z/!?])", r"\\\g<0>", text)


def _dialogues(dataset: str) -> str:
    """What the model was trained on."""
    acted = official_dataset(dataset) is not None
    return f"acted dialogues in English ({dataset})" if acted else f"the dialogues of one corpus ({dataset})"


def _source(modalities: Sequence[str]) -> str:
    """What the model predicts: a transcript, where its features can be made from one, or a split."""
    if set(modalities) <= set(FROM_TRANSCRIPT):
        return "--csv conversation.csv   # open features: extra `features`"
    return "--split test --out predictions.csv"


def _labels(seen: Mapping[str, str]) -> str:
    """A list item: which labels made the features."""
    return (
        f"- Labels in the features: {'; '.join(f'{split}: {how}' for split, how in seen.items())}.\n"
        if seen
        else ""
    )


def _which(test: TestRecord) -> str:
    """List items: which number is which, of a study with several answers."""
    if not (answers := several_answers(test)):
        return ""
    items = [f"\n- *{answer.name}*: {answer.meaning}." for answer in answers]
    return f"\n- {fixed_before_test(answers)}{''.join(items)}"


def _rows(test: TestRecord) -> str:
    """Table rows: winner and baseline, over their seeds; of each answer, where there are several."""
    rows, several = [], bool(several_answers(test))
    for answer in answers_of(test):
        prefix = f"*{answer.name}*: " if several else ""
        for side in ("winner", "baseline"):
            scores, validation = answer.side(side), answer.validation.get(side, ())
            if scores is None or (scores.weighted_f1.std is None and answer.name == CONFIGURATION):
                continue  # a single training is this checkpoint
            f1 = scores.weighted_f1
            mean = percent(sum(validation) / len(validation)) if validation else ""
            seeds = "" if f1.std is None else f", mean of {counted(len(f1.values), 'seed')}"
            rows.append(f"| {prefix}{side}{seeds} | {mean} | {plus_minus(f1.mean, f1.std)} |\n")
    return "".join(rows)
