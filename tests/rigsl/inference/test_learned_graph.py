"""The learned graph as data, table and picture."""

import matplotlib.image
import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from rigsl.config import RIGSLConfig
from rigsl.data.batches import BatchSource
from rigsl.errors import UserError
from rigsl.inference.graph_picture import draw
from rigsl.inference.learned_graph import learned_graph
from rigsl.model.backbones import BACKBONES
from rigsl.model.graph import dialogue_graph
from rigsl.model.rigsl import RIGSL
from tests.helpers.corpora import toy_corpus

CORPUS = toy_corpus(widths={"l": 8, "a": 4, "d": 5}, longest=9)
LONGEST = CORPUS.dialogue_ids[int(CORPUS.lengths.argmax())]


def _model(**changes):
    torch.manual_seed(0)
    sizes = {"hidden_dim": 8, "num_L": 3, "num_K": 2, "nodeformer_heads": 2, "nb_features_dim": 4}
    return RIGSL(RIGSLConfig(modals="lad", **sizes | changes), CORPUS.schema).eval()


def test_it_is_the_graph_of_the_forward_pass():
    model = _model()
    with torch.no_grad():  # gates in the middle, so that some edges go
        for layer in model.backbone.layers:
            for score in layer.edge_gate.score:
                score.weight *= 8
    graph = learned_graph(model, CORPUS, LONGEST)
    batch = BatchSource(CORPUS, "lad").batch(np.array([CORPUS.dialogue_ids.index(LONGEST)]))
    with torch.no_grad():
        out = model(batch)
    kept = graph.kept()
    assert kept.shape == (3, 3)
    torch.testing.assert_close(kept.mean(dim=0), out.kept.double(), rtol=1e-5, atol=1e-6)
    assert 0 < kept.mean() < 1
    assert graph.predicted.tolist() == out.log_prob.argmax(dim=1).tolist()
    length = graph.length
    assert graph.edge_index.shape[1] == 3 * length * (length - 1) + 6 * length
    source, target = graph.edge_index
    same_lane, same_time = source // length == target // length, source % length == target % length
    assert torch.equal(graph.edge_type == 2, same_time & ~same_lane)
    speaker = torch.tensor(graph.speakers)
    assert torch.equal(
        graph.edge_type[same_lane] == 1, (speaker[source % length] == speaker[target % length])[same_lane]
    )
    torch.testing.assert_close(graph.relations.sum(dim=2), torch.ones(2, 3 * length))
    strongest = graph.strongest(5)
    assert [weight for *_, weight in strongest] == sorted((w for *_, w in strongest), reverse=True)
    first = strongest[0]
    assert graph.relations.mean(dim=0)[first[1], first[0]] == pytest.approx(first[2])


def test_a_removed_edge_carries_no_message():
    """Cutting a source's outgoing gates out of the listed graph agrees with the model's own gates."""
    model = _model(num_L=1, backbone="GCN")
    graph = learned_graph(model, CORPUS, LONGEST)
    batch = BatchSource(CORPUS, "lad").batch(np.array([CORPUS.dialogue_ids.index(LONGEST)]))
    layer = model.backbone.layers[0]
    with torch.no_grad():
        encoded = model.encoder(batch)
        out = layer(encoded, batch, dialogue_graph(batch, model.config)).features
        hidden = layer.lin(encoded)
    source, target = graph.edge_index
    gate = graph.gates[:, 0]
    degree = torch.zeros(len(hidden)).index_add(0, source, (gate != 0).float())
    norm = degree.clamp_min(1e-30).rsqrt().clamp_max(1.5)
    value = gate * norm[source] * norm[target]
    expected = torch.zeros_like(hidden).index_add(0, target, value[:, None] * hidden[source])
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("ablation", [{}, {"use_cgs": False}, {"use_igr": False}])
def test_file_and_picture(backbone, ablation, tmp_path):
    graph = learned_graph(_model(backbone=backbone, **ablation), CORPUS, LONGEST)
    graph.save(tmp_path / "graph.pt")
    data = Data.from_dict(torch.load(tmp_path / "graph.pt", weights_only=True))
    assert data.validate()
    assert data.num_nodes == 3 * graph.length
    assert data.edge_weight.shape[0] == data.edge_index.shape[1] == len(data.edge_type)
    draw(graph, CORPUS, tmp_path / "graph.png")
    picture = matplotlib.image.imread(tmp_path / "graph.png")
    assert picture.shape[1] > 800
    assert picture.std() > 0.01


def test_one_utterance_alone(tmp_path):
    shortest = CORPUS.dialogue_ids[int(CORPUS.lengths.argmin())]
    graph = learned_graph(_model(), CORPUS, shortest)
    assert graph.length == 1
    draw(graph, CORPUS, tmp_path / "graph.png")


def test_an_unknown_dialogue_is_named():
    with pytest.raises(UserError, match="--dialogue train_99999: test has no such dialogue"):
        learned_graph(_model(), CORPUS, "train_99999")
