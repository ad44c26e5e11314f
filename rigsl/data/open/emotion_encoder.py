"""A sentence encoder with low-rank adapters and a linear classifier: emotions of utterances from their words.

The vector of an utterance is the mean of the hidden states of its own tokens. Preceding utterances of the
dialogue can stand before it in the same input, as in EmoBERTa (Kim & Vossen, 2021); their tokens are attended
to, and are not in the mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rigsl.data.open.low_rank import add_adapters, set_trained_tensors
from rigsl.data.open.meld import Transcript
from rigsl.data.open.sentence_encoder import load_encoder
from rigsl.errors import UserError, first_line

#: Most tokens of an input, where the encoder takes so many; longer utterances are cut, and context that does
#: not fit is left out.
MAX_LENGTH = 128


@dataclass(frozen=True)
class TokenInputs:
    """The token ids of every utterance of a transcript, with its context; own tokens are ``own[i]``."""

    ids: tuple[np.ndarray, ...]  #: int64, one array for each utterance
    own: tuple[slice, ...]

    @property
    def lengths(self) -> np.ndarray:
        """Number of tokens of every input, int64 [U]."""
        return np.array([len(ids) for ids in self.ids], dtype=np.int64)


class EmotionEncoder(nn.Module):
    """Log-probabilities of `classes` from tokens. Only the adapters and the classifier can be trained.

    Raises:
        UserError: the encoder cannot be loaded, or is not of the BERT family.
    """

    def __init__(self, folder: Path, classes: int, rank: int) -> None:
        super().__init__()
        sentence_encoder: Any = load_encoder(folder)
        self.tokenizer = sentence_encoder.tokenizer
        if None in (self.tokenizer.cls_token_id, self.tokenizer.sep_token_id):
            raise UserError(
                f"{folder}: cannot be fine-tuned, because it has no tokens for the beginning and the end of "
                "a text; use an encoder of the BERT family, or leave out --finetune"
            )
        self.encoder: nn.Module = sentence_encoder[0].auto_model
        if getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = None  # not used
        add_adapters(self.encoder, rank)
        self.dropout = nn.Dropout(0.1)
        width = int(sentence_encoder[0].auto_model.config.hidden_size)
        self.classifier = nn.Linear(width, classes, dtype=torch.float64)
        nn.init.normal_(self.classifier.weight, std=0.02)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, ids: Tensor, mask: Tensor, own: Tensor) -> Tensor:
        """Log-probabilities [B, classes].

        Args:
            ids: token ids [B, T].
            mask: 1 for tokens, 0 for padding [B, T].
            own: weights of the tokens in the utterance's mean, which sum to 1 [B, T].
        """
        hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        vectors = torch.bmm(own.to(hidden.dtype)[:, None], hidden)[:, 0]
        logits = self.classifier(self.dropout(vectors))
        return torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)


def tuned_encoder(folder: Path, rank: int, tensors: Mapping[str, np.ndarray]) -> EmotionEncoder:
    """The encoder in `folder`, in float64, with the adapters and the classifier of a fine-tuning.

    Raises:
        UserError: they are those of another encoder.
    """
    model = EmotionEncoder(folder, len(tensors["classifier.bias"]), rank)
    try:
        with torch.no_grad():
            set_trained_tensors(model, {name: torch.tensor(value) for name, value in tensors.items()})
    except (KeyError, RuntimeError) as error:
        raise UserError(
            f"{folder}: the fine-tuned encoders do not fit this encoder ({first_line(error, length=200)}); "
            "fine-tune it again"
        ) from None
    return model


def token_inputs(tokenizer: Any, transcript: Transcript, context: int) -> TokenInputs:
    """The inputs of all utterances: ``[CLS] context [SEP] ... utterance [SEP]``.

    Args:
        tokenizer: of the encoder.
        transcript: the utterances.
        context: how many preceding utterances of the dialogue stand before each, as far as they fit.
    """
    pieces: list[list[int]] = tokenizer(list(transcript.utterances), add_special_tokens=False)["input_ids"]
    first, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    longest = min(MAX_LENGTH, int(tokenizer.model_max_length))
    ids, own = [], []
    begins = np.repeat(transcript.offsets[:-1], np.diff(transcript.offsets))
    for row, piece in enumerate(pieces):
        tokens = piece[: longest - 2]
        before: list[int] = []
        for earlier in range(row - 1, max(row - 1 - context, int(begins[row]) - 1), -1):
            if len(pieces[earlier]) + 1 + len(before) + len(tokens) + 2 > longest:
                break
            before = [*pieces[earlier], end, *before]
        ids.append(np.array([first, *before, *tokens, end], dtype=np.int64))
        start = 1 + len(before)
        own.append(slice(start, start + len(tokens)) if tokens else slice(0, 1))
    return TokenInputs(tuple(ids), tuple(own))


def padded(inputs: TokenInputs, rows: Sequence[int] | np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """The arguments of `EmotionEncoder.forward` for these utterances."""
    length = max(len(inputs.ids[row]) for row in rows)
    ids, mask = (torch.zeros(len(rows), length, dtype=torch.int64) for _ in range(2))
    own = torch.zeros(len(rows), length, dtype=torch.float64)
    for index, row in enumerate(rows):
        tokens, part = inputs.ids[row], inputs.own[row]
        ids[index, : len(tokens)] = torch.from_numpy(tokens)
        mask[index, : len(tokens)] = 1
        own[index, part] = 1.0 / (part.stop - part.start)
    return ids, mask, own


@torch.no_grad()
def log_probabilities(
    model: EmotionEncoder,
    inputs: TokenInputs,
    rows: np.ndarray,
    *,
    batch_size: int = 64,
    on_rows: Callable[[int], object] = lambda rows: None,
) -> np.ndarray:
    """Log-probabilities of utterances, float64 [len(rows), classes].

    Inputs of equal tokens are computed once. `on_rows` is called with the number of rows that are done.
    """
    model.eval()
    device = model.classifier.weight.device
    keys = {row: (inputs.ids[row].tobytes(), inputs.own[row].start) for row in rows}
    chosen = {key: row for row, key in reversed(keys.items())}
    unique = sorted(chosen.values(), key=lambda row: (len(inputs.ids[row]), row))
    result: dict[int, np.ndarray] = {}
    repeats = Counter(chosen[key] for key in keys.values())
    for begin in range(0, len(unique), batch_size):
        batch = unique[begin : begin + batch_size]
        output = model(*(part.to(device) for part in padded(inputs, batch)))
        result |= dict(zip(batch, output.double().cpu().numpy(), strict=True))
        on_rows(sum(repeats[row] for row in batch))
    values = [result[chosen[keys[row]]] for row in rows]
    return np.array(values, dtype=np.float64).reshape(len(rows), model.classifier.out_features)
