"""RIGSL: multimodal emotion recognition in conversations by graph structure learning (ICME 2025).

Train a configuration, score it on the test split, save it, and predict with it::

    import rigsl

    corpus = rigsl.load_corpus("MELD", data_dir="data")
    config = rigsl.RIGSLConfig(modals="ld", hidden_dim=64, lr=1e-3, epochs=10)
    result = rigsl.fit(config, corpus, on_epoch=lambda report: print(report.epoch, report.validation))
    print(rigsl.evaluate(result.model, corpus, "test").scores)
    rigsl.save_checkpoint("models/first", result.model)

    model = rigsl.load_checkpoint("models/first")
    log_prob = rigsl.predict(model, corpus)  # [utterances, classes]
    print([corpus.classes[index] for index in log_prob[:5].argmax(axis=1)])

`fit` chooses the epoch on the dev split. `python -m rigsl` does the same from the shell; ``search`` searches
hyperparameters. docs/model.md says what the model computes. Several models of one corpus can predict as one,
with the mean of their probabilities::

    rigsl.save_average("models/average", [model, other])
    log_prob = rigsl.log_probabilities(rigsl.load_model("models/average"), corpus)

The packages:

config      `RIGSLConfig`: every hyperparameter with its bounds
modalities  their letters and names
data        corpora and batches; `rigsl.data.source` finds the corpus of a dataset
model       the model
training    training, evaluation, scores, checkpoints
memory      how much memory a training takes, from shapes alone
official    command lines and checkpoints of the official code
inference   averages of models, prediction tables, transcripts, learned graphs
cli         `python -m rigsl`
files, errors, registry, wording, device   what all of these use
served      where MLflow finds the loader of models that earlier versions registered

`import rigsl` is fast: the functions below import PyTorch when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rigsl.config import RIGSLConfig
    from rigsl.data.corpus import Corpus
    from rigsl.data.open.settings import FineTuning
    from rigsl.data.source import load_corpus
    from rigsl.inference.average import load_model, log_probabilities, save_average
    from rigsl.training.checkpoint import load_checkpoint, save_checkpoint
    from rigsl.training.evaluation import evaluate, predict
    from rigsl.training.fit import fit
    from rigsl.training.teacher import Teacher

__version__ = "0.1.0"

__all__ = [
    "Corpus",
    "FineTuning",
    "RIGSLConfig",
    "Teacher",
    "evaluate",
    "fit",
    "load_checkpoint",
    "load_corpus",
    "load_model",
    "log_probabilities",
    "predict",
    "save_average",
    "save_checkpoint",
]

#: Public name -> the module that defines it.
_MODULES = {
    "RIGSLConfig": "rigsl.config",
    "Corpus": "rigsl.data.corpus",
    "FineTuning": "rigsl.data.open.settings",
    "load_corpus": "rigsl.data.source",
    "fit": "rigsl.training.fit",
    "Teacher": "rigsl.training.teacher",
    "evaluate": "rigsl.training.evaluation",
    "predict": "rigsl.training.evaluation",
    "save_checkpoint": "rigsl.training.checkpoint",
    "load_checkpoint": "rigsl.training.checkpoint",
    "save_average": "rigsl.inference.average",
    "load_model": "rigsl.inference.average",
    "log_probabilities": "rigsl.inference.average",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'rigsl' has no attribute '{name}'")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
