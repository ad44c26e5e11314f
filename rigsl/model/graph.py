"""The predefined graph of a batch of dialogues, in the form that pays (docs/model.md, sections 3 and 7)."""

from __future__ import annotations

from rigsl.config import RIGSLConfig
from rigsl.data.batches import Batch
from rigsl.model.dense_graph import dense_graph
from rigsl.model.edge_list import edge_list
from rigsl.model.edges import DialogueGraph

#: Utterances of the longest dialogue from which on the sparse form is looked at. On one core of an AMD EPYC,
#: with windows of 20 and 64 features, a layer of CGS takes as long in both forms at 64 utterances, and one of
#: NodeFormer with 8 samples of 32 random features at 130 (docs/speed.md). Shorter dialogues, such as those of
#: MELD and IEMOCAP, keep the dense form.
SHORTEST = 256
#: What an edge costs in the sparse form, in pairs of the dense one (measured as above).
PAIRS_PER_EDGE = 2
#: Numbers that the dense form may keep for its backward pass (1 GiB), however slow the other one is.
MOST_NUMBERS = 2**28


def dialogue_graph(batch: Batch, config: RIGSLConfig) -> DialogueGraph:
    """The graph of the dialogues of a batch, within the windows of the configuration.

    Both forms give the same numbers up to rounding; which one it is depends on the whole batch.
    """
    if sparse_form_pays(config, len(batch.lengths), batch.longest, len(batch.rows)):
        return edge_list(batch, config)
    return dense_graph(batch, config)


def sparse_form_pays(config: RIGSLConfig, dialogues: int, longest: int, utterances: int) -> bool:
    """Whether a batch takes fewer multiplications as a list of edges than as masks, or too much memory so.

    It has `dialogues`, of which the longest one has `longest` utterances, and `utterances` in total. Without
    both windows the edges are all pairs, and masks are the better list of them.
    """
    if config.windowp < 0 or config.windowf < 0 or config.official_quirks or longest < SHORTEST:
        return False
    modalities, d, features = len(config.modalities), config.hidden_dim, config.nb_features_dim
    samples = config.gumbel_k if config.use_gumbel else 1
    pairs = modalities * dialogues * longest**2
    edges = modalities * utterances * min(config.windowp + config.windowf, longest)
    dense = sparse = kept = 0.0
    if config.use_cgs:
        dense += config.num_L * d * pairs
        sparse += config.num_L * d * PAIRS_PER_EDGE * edges
        kept += 7 * config.num_L * pairs
    if config.use_igr:
        heads = config.num_K * config.nodeformer_heads
        dense += heads * modalities * pairs * (features + 2 * samples + d)
        sparse += heads * features * (2 * samples * d * modalities * utterances + edges)
        kept += 4 * heads * modalities * pairs
    return sparse < dense or kept > MOST_NUMBERS
