"""A sentence encoder of a few thousand random weights, in the format of sentence-transformers."""

from __future__ import annotations

import re
from pathlib import Path

from tests.helpers.transcripts import ROWS

WIDTH = 16


def write_tiny_encoder(folder: Path, family: str = "Bert") -> Path:
    """Write it to `folder`; its words are those of `tests.helpers.transcripts`, in lower case.

    Args:
        folder: to write.
        family: Bert, MPNet, Roberta, XLMRoberta or DistilBert, as the classes of transformers are called.
    """
    import torch
    import transformers
    from sentence_transformers import SentenceTransformer, models

    words = sorted({word for row in ROWS for word in re.findall(r"[a-z]+|[^\sa-z]", row.lower())})
    vocabulary = folder.parent / "vocabulary.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]), encoding="utf-8")
    torch.manual_seed(0)
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2}
    sizes |= {"intermediate_size": 2 * WIDTH}
    if family == "DistilBert":
        sizes = {"dim": WIDTH, "n_layers": 2, "n_heads": 2, "hidden_dim": 2 * WIDTH}
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(words) + 5, max_position_embeddings=64, **sizes
    )
    bert = folder.parent / "bert"
    getattr(transformers, f"{family}Model")(config).save_pretrained(bert)
    transformers.BertTokenizer(str(vocabulary)).save_pretrained(bert)
    transformer = models.Transformer(str(bert), max_seq_length=32)
    SentenceTransformer(modules=[transformer, models.Pooling(WIDTH), models.Normalize()]).save(str(folder))
    return folder
