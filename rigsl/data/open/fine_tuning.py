"""Fine-tuning of an emotion encoder on labelled utterances: its adapters and classifier, for some epochs.

No score of held-out data is looked at: the number of epochs is a setting.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rigsl.data.open.emotion_encoder import EmotionEncoder, TokenInputs, padded, token_inputs
from rigsl.data.open.low_rank import set_trained_tensors, trained_tensors
from rigsl.data.open.meld import Transcript
from rigsl.data.open.settings import FineTuning
from rigsl.errors import UserError, first_line
from rigsl.files import write_tensors

#: Batches among which inputs are sorted by length, so that little is padding.
_POOL = 20
_WARM_UP, _WEIGHT_DECAY, _MAX_NORM = 0.1, 0.01, 1.0


def batches_of_epoch(inputs: TokenInputs, rows: np.ndarray, size: int, seed: int) -> list[np.ndarray]:
    """`rows` in random batches of inputs of similar length."""
    generator = np.random.default_rng(seed)
    order, lengths = generator.permutation(rows), inputs.lengths
    batches = []
    for begin in range(0, len(order), size * _POOL):
        pool = order[begin : begin + size * _POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[first : first + size] for first in range(0, len(pool), size)]
    return [batches[index] for index in generator.permutation(len(batches))]


def steps_of(rows: np.ndarray, settings: FineTuning) -> int:
    """Number of steps of a fine-tuning on `rows`."""
    return settings.epochs * len(range(0, len(rows), settings.batch_size))


def fine_tune(
    transcript: Transcript,
    folder: Path,
    rows: np.ndarray,
    settings: FineTuning,
    state: Path,
    *,
    device: str = "cpu",
    on_steps: Callable[[int], object] = lambda steps: None,
) -> dict[str, np.ndarray]:
    """Fine-tune the encoder in `folder` on `rows`: name -> its trained tensors, float16.

    The same call on the same machine, with the same number of threads, gives the same numbers, also when it
    goes on from a state.

    Args:
        transcript: the utterances; only the labels of `rows` are read.
        folder: of a sentence encoder.
        rows: the utterances to learn from.
        settings: of the training.
        state: file that is written after every epoch; if it is there, the training goes on from it.
        device: such as "cpu" or "cuda".
        on_steps: called with the number of steps that have been made, at once for those of a state.
    """
    torch.manual_seed(settings.seed)
    model = EmotionEncoder(folder, len(transcript.classes), settings.rank).float().to(device)
    inputs = token_inputs(model.tokenizer, transcript, settings.context)
    parameters = [value for value in model.parameters() if value.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=_WEIGHT_DECAY, eps=1e-6)
    weights = class_weights(transcript.labels[rows], len(transcript.classes), settings.balance).to(device)
    total, per_epoch = steps_of(rows, settings), steps_of(rows, settings) // settings.epochs
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, total))
    done = _load(state, model, optimiser, schedule)
    on_steps(done * per_epoch)
    for epoch in range(done, settings.epochs):
        torch.manual_seed(settings.seed * 1000 + epoch)
        model.train()
        for batch in batches_of_epoch(inputs, rows, settings.batch_size, settings.seed * 1000 + epoch):
            arguments = [part.to(device) for part in padded(inputs, batch)]
            with torch.autocast(device.split(":")[0], torch.bfloat16, enabled=has_bfloat16(device)):
                output = model(*arguments)
            target = torch.from_numpy(transcript.labels[batch]).to(device)
            loss = torch.nn.functional.nll_loss(output, target, weights)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(parameters, _MAX_NORM)
            optimiser.step()
            schedule.step()
            on_steps(1)
        _save(state, epoch + 1, model, optimiser, schedule)
    tensors = trained_tensors(model)
    return {name: value.cpu().numpy().astype(np.float16) for name, value in tensors.items()}


def class_weights(labels: np.ndarray, classes: int, balance: float) -> Tensor:
    """frequency ** -balance of every class, with mean 1 over the `labels`; float32 [classes].

    A class without labels has the weight of one with one label.
    """
    counts = np.bincount(labels, minlength=classes).clip(1)
    weights = (counts / len(labels)) ** -balance
    return torch.from_numpy(weights / weights[labels].mean()).float()


def has_bfloat16(device: str) -> bool:
    """Whether the device multiplies bfloat16 matrices faster than float32 ones."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _rate(step: int, total: int) -> float:
    """Linear warm-up, then linear decay to zero."""
    warm_up = max(1, round(_WARM_UP * total))
    return min((step + 1) / warm_up, max(0.0, (total - step) / max(1, total - warm_up)))


def _save(path: Path, epochs: int, *parts: Any) -> None:
    model, optimiser, schedule = parts
    content = {
        "epochs": epochs,
        "tensors": trained_tensors(model),
        "optimiser": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
    }
    write_tensors(path, content)


def _load(path: Path, *parts: Any) -> int:
    """Go on from the state in `path`, if it is there: the epochs that are done."""
    if not path.exists():
        return 0
    model, optimiser, schedule = parts
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        with torch.no_grad():
            set_trained_tensors(model, content["tensors"])
        optimiser.load_state_dict(content["optimiser"])
        schedule.load_state_dict(content["schedule"])
        return int(content["epochs"])
    except Exception as error:
        reason = first_line(error, length=200)
        raise UserError(f"{path}: is damaged ({reason}); remove it") from None
