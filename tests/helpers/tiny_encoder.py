"""A sentence encoder of a few thousand random weights, in the format of sentence-transformers."""

from __future__ import annotations

import re
from pathlib import Path

from tests.helpers.transcripts import ROWS

WIDTH = 16


def write_tiny_encoder(folder: Path) -> Path:
    """Write it to `folder`; its words are those of `tests.helpers.transcripts`, in lower case."""
    import torch
    from sentence_transformers import SentenceTransformer, models
    from transformers import BertConfig, BertModel, BertTokenizer

    words = sorted({word for row in ROWS for word in re.findall(r"[a-z]+|[^\sa-z]", row.lower())})
    vocabulary = folder.parent / "vocabulary.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]), encoding="utf-8")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words) + 5,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=2 * WIDTH,
        max_position_embeddings=64,
    )
    bert = folder.parent / "bert"
    BertModel(config).save_pretrained(bert)
    BertTokenizer(str(vocabulary)).save_pretrained(bert)
    transformer = models.Transformer(str(bert), max_seq_length=32)
    SentenceTransformer(modules=[transformer, models.Pooling(WIDTH), models.Normalize()]).save(str(folder))
    return folder
