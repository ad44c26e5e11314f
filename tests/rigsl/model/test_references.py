"""CGS, M3Net and NodeFormer against brute force: edge lists, loops over dialogues, float64."""

import itertools

import numpy as np
import pytest
import torch
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import degree, scatter, softmax

from rigsl.config import RIGSLConfig
from rigsl.data.batches import BatchSource
from rigsl.model import sparsify
from rigsl.model.backbones.gat import GATLayer
from rigsl.model.backbones.gcn import GCNLayer
from rigsl.model.backbones.m3net import FrequencyLayer, HypergraphBranch
from rigsl.model.backbones.mmgcn import similarity_graph
from rigsl.model.graph import dialogue_graph
from rigsl.model.nodeformer import (
    NodeFormer,
    NodeFormerLayer,
    gumbel_weights,
    link_loss,
    projected,
    relation_weights,
)
from rigsl.model.recurrent import bidirectional
from rigsl.model.rigsl import RIGSL
from tests.helpers.corpora import toy_corpus

MODALITIES = ["l", "ld", "lavd"]


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(3)
    yield
    torch.set_default_dtype(torch.float32)


def _setup(modals, **changes):
    corpus = toy_corpus(widths={"l": 8, "a": 4, "v": 3, "d": 5})
    config = RIGSLConfig(
        modals=modals, hidden_dim=6, nodeformer_heads=2, nb_features_dim=5, num_K=2, num_L=2, **changes
    )
    batch = BatchSource(corpus, config.modals).batch(np.array([4, 0, 7, 2, 9]))
    x = torch.randn(len(modals) * len(batch.rows), config.hidden_dim, requires_grad=True)
    return config, batch, dialogue_graph(batch, config), x


class EdgeList:
    """The predefined graph of a batch, edge by edge; node (m, u) has the number m * U + u."""

    def __init__(self, config, batch):
        utterances, modalities = len(batch.rows), len(config.modals)
        starts = np.cumsum([0, *batch.lengths])
        edges, kinds, where = [], [], []
        for dialogue, (start, length) in enumerate(zip(starts, batch.lengths, strict=False)):
            members = range(start, start + length)
            for m in range(modalities):
                for j, i in itertools.permutations(members, 2):
                    past, future = i - j, j - i
                    if 0 <= config.windowp < past or 0 <= config.windowf < future:
                        continue
                    edges.append((m * utterances + j, m * utterances + i))
                    kinds.append(int(batch.speaker[i] == batch.speaker[j]))
                    where.append((dialogue, ("intra", m, i - start, j - start)))
            for t, (n, m) in itertools.product(members, itertools.permutations(range(modalities), 2)):
                edges.append((n * utterances + t, m * utterances + t))
                kinds.append(2)
                where.append((dialogue, ("cross", m, n, t - start)))
        self.index = torch.tensor(edges).reshape(-1, 2).T
        self.kind = torch.tensor(kinds, dtype=torch.long)
        self.dialogue = torch.tensor([dialogue for dialogue, _ in where])
        self.where = where
        self.nodes = modalities * utterances

    def pick(self, intra, cross):
        """The values of the edges from [B, M, T, T] and [B, M, M, T]."""
        blocks = {"intra": intra, "cross": cross}
        return torch.stack([blocks[at[0]][(dialogue, *at[1:])] for dialogue, at in self.where])


class ReferenceConv(MessagePassing):
    """out_i = sum over edges j -> i of value x_j."""

    def __init__(self):
        super().__init__(aggr="add")

    def forward(self, x, edge_index, value):
        return self.propagate(edge_index, x=x, value=value)

    def message(self, x_j, value):
        return value[:, None] * x_j


@pytest.mark.parametrize("modals", MODALITIES)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("window", [-1, 1])
def test_frequency_layer(modals, training, window, monkeypatch):
    config, batch, graph, x = _setup(modals, temperature=0.7, gamma=-0.4, zeta=1.3, windowp=window, windowf=2)
    layer = FrequencyLayer(config).train(training)
    noise, rand_like = [], torch.rand_like

    def recorded(values):
        noise.append(rand_like(values))
        return noise[-1]

    monkeypatch.setattr(sparsify.torch, "rand_like", recorded)
    out = layer(x, batch, graph)

    edges = EdgeList(config, batch)
    source, target = edges.index
    hidden = x @ layer.lin.weight.T
    h = layer.edge_gate.transform(hidden)
    logit = torch.stack(
        [
            layer.edge_gate.score[int(kind)](torch.cat([h[j], h[i]]))[0]
            for kind, j, i in zip(edges.kind, source, target, strict=True)
        ]
    )
    if training:
        u = edges.pick(*graph.blocks(noise[0])) * (1 - 2e-7) + 1e-7
        z = torch.sigmoid((u.log() - (1 - u).log() + logit) / 0.7)
    else:
        z = torch.sigmoid(logit)
    gate = (z * 1.7 - 0.4).clamp(0, 1)
    s = degree(source[gate != 0], edges.nodes, dtype=x.dtype).pow(-0.5).clamp(0, 1.5)
    ends = torch.cat([hidden[target], hidden[source]], dim=1)
    sign = torch.tanh(layer.pair(ends)).squeeze(1)
    expected = ReferenceConv()(hidden, edges.index, s[source] * s[target] * gate * sign)
    torch.testing.assert_close(out.features, expected)
    penalty = torch.sigmoid(logit - 0.7 * np.log(0.4 / 1.3)).mean()
    torch.testing.assert_close(out.penalty, penalty)
    for kind in edges.kind.unique():
        torch.testing.assert_close(out.kept[kind], (gate[edges.kind == kind] != 0).double().mean())
    result = torch.autograd.grad(out.features.sin().sum() + out.penalty, x)
    reference = torch.autograd.grad(expected.sin().sum() + penalty, x)
    torch.testing.assert_close(result, reference)


@pytest.mark.parametrize("modals", MODALITIES)
def test_hypergraph_branch(modals):
    config, batch, graph, x = _setup(modals)
    branch = HypergraphBranch(config)
    for parameter in branch.parameters():
        torch.nn.init.uniform_(parameter, 0.5, 1.5)
    out = branch(x, batch, graph)

    modalities, utterances, size = len(modals), len(batch.rows), len(batch.lengths)
    nodes = torch.arange(modalities * utterances)
    modality, utterance = nodes // utterances, nodes % utterances
    dialogue = batch.dialogues.sequence[utterance]
    by_modality, by_utterance = dialogue * modalities + modality, size * modalities + utterance
    node = torch.cat([nodes, nodes])
    edge = torch.cat([by_modality, by_utterance])
    weight = branch.node_weight[modality]
    kind = torch.cat(
        [branch.hyperedge_weight[:modalities].repeat(size), branch.hyperedge_weight[-1:].repeat(utterances)]
    )
    value = x
    for bias in branch.bias:
        members = scatter(weight[node], edge, reduce="sum")
        edges = scatter(value[node], edge, reduce="sum") / members[:, None]
        spread = scatter(edges[edge], node, reduce="sum") / scatter(kind[edge], node, reduce="sum")[:, None]
        value = torch.nn.functional.leaky_relu(spread + bias, 0.01)
    torch.testing.assert_close(out, value)


@pytest.mark.parametrize("over", [["dialogues"] * 3, ["speakers"] * 3, ["speakers", "dialogues", "speakers"]])
def test_grus_side_by_side(over):
    """Values and gradients of torch.nn.GRU on packed sequences."""
    _, batch, _, _ = _setup("ld")
    packings = [getattr(batch, name) for name in over]
    networks = [torch.nn.GRU(6, 4, num_layers=2, bidirectional=True) for _ in range(3)]
    rows = [torch.randn(len(batch.rows), 6, requires_grad=True) for _ in networks]
    leaves = [*rows, *(p for network in networks for p in network.parameters())]
    result = torch.stack(bidirectional(networks, rows, packings))
    triples = zip(networks, rows, packings, strict=True)
    reference = torch.stack([each.unpack(network(each.pack(part))[0]) for network, part, each in triples])
    torch.testing.assert_close(result, reference)
    torch.testing.assert_close(
        torch.autograd.grad(result.sin().sum(), leaves), torch.autograd.grad(reference.sin().sum(), leaves)
    )


@pytest.mark.parametrize("modals", MODALITIES)
def test_sparsemax_gates(modals):
    """Each node's incoming gates are the projection of their logits on the simplex (sorted threshold)."""
    config, batch, graph, x = _setup(modals, sparsifier="sparsemax", backbone="GCN")
    layer = GCNLayer(config)
    out = layer(4 * x, batch, graph)
    edges = EdgeList(config, batch)
    source, target = edges.index
    hidden = layer.lin(4 * x)
    h = layer.edge_gate.transform(hidden)
    ends = torch.cat([h[source], h[target]], dim=1)
    logit = torch.stack([score(ends).squeeze(1) for score in layer.edge_gate.score])
    logit = logit[edges.kind, torch.arange(len(source))]
    gate = torch.zeros_like(logit)
    for node in target.unique():
        incoming = target == node
        ordered = logit[incoming].sort(descending=True).values
        sums, count = ordered.cumsum(0), torch.arange(1, len(ordered) + 1)
        size = int((1 + count * ordered > sums).sum())
        gate[incoming] = (logit[incoming] - (sums[size - 1] - 1) / size).clamp_min(0)
    expected = ReferenceConv()(hidden, edges.index, gate)
    torch.testing.assert_close(out.features, expected)
    torch.testing.assert_close(out.penalty, (gate > 0).double().mean(), check_dtype=False)
    assert 0 < out.penalty < 1
    gradient = torch.autograd.grad(out.features.sin().sum(), x, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sin().sum(), x))


def test_temperature_is_annealed():
    corpus = toy_corpus(widths={"l": 8, "d": 5})
    config = RIGSLConfig(modals="ld", hidden_dim=6, temperature=2.0, anneal_to=0.25, anneal_epoch=4)
    model = RIGSL(config, corpus.schema)
    gate = model.backbone.layers[0].edge_gate
    temperatures = []
    for epoch in range(6):
        model.start_epoch(epoch)
        temperatures.append(gate.shape["temperature"])
    assert temperatures == pytest.approx([2.0, 2**0.5, 1.0, 0.5**0.5, 0.5, 0.5])


@pytest.mark.parametrize("modals", MODALITIES)
def test_gat_attention(modals):
    config, batch, graph, x = _setup(modals)
    layer = GATLayer(config).eval()
    out = layer(x, batch, graph)
    edges = EdgeList(config, batch)
    source, target = edges.index
    hidden = layer.lin(x)
    h = layer.edge_gate.transform(hidden)
    ends = torch.cat([h[source], h[target]], dim=1)
    logit = torch.stack([score(ends).squeeze(1) for score in layer.edge_gate.score])
    gate = (torch.sigmoid(logit[edges.kind, torch.arange(len(source))]) * 2.0 - 0.95).clamp(0, 1)
    pair = torch.nn.functional.leaky_relu(layer.pair(torch.cat([hidden[target], hidden[source]], dim=1)), 0.2)
    attention = softmax(pair.squeeze(1), source, num_nodes=edges.nodes)
    expected = ReferenceConv()(hidden, edges.index, attention * gate)
    torch.testing.assert_close(out.features, expected)


@pytest.mark.parametrize("modals", MODALITIES)
@pytest.mark.parametrize("windows", [{}, {"windowp": 1, "windowf": 2}], ids=str)
def test_mmgcn_similarity_graph(modals, windows):
    config, batch, graph, x = _setup(modals, **windows)
    values = similarity_graph(x, graph)
    edges, utterances = EdgeList(config, batch), len(batch.rows)
    nodes = len(modals) * utterances
    dense = torch.zeros(nodes, nodes)
    loops = torch.arange(nodes).expand(2, -1)
    for source, target in torch.cat([edges.index, loops], dim=1).T:
        cosine = torch.cosine_similarity(x[source], x[target], dim=0)
        dense[target, source] = 1 - torch.arccos(0.99999 * cosine.clamp(-1, 1)) / np.pi
    scale = dense.sum(dim=1).rsqrt()
    dense = dense * scale[:, None] * scale[None]
    h = torch.randn(nodes, 3)
    out = graph.propagate(h, values)
    torch.testing.assert_close(out, dense @ h)


def _official_nodeformer(query, key, value, projection, tau, exponential=None):
    """Wu et al.'s feature-map form for one dialogue: [N, H, d] -> ([N, H, d], A [N, N, H])."""
    width, count = query.shape[-1], projection.shape[0]
    features = []
    for data, over in ((query, (-1,)), (key, (0, -1))):
        data = data / tau**0.5 / width**0.25
        dash = torch.einsum("nhd,md->nhm", data, projection)
        largest = dash.amax(dim=over, keepdim=True)
        feature = torch.exp(dash - data.square().sum(-1, keepdim=True) / 2 - largest) + 1e-6
        features.append(feature / count**0.5)
    q, k = features
    similarity = torch.einsum("ihm,jhm->ijh", q, k)
    attention = similarity / similarity.sum(dim=1, keepdim=True)
    if exponential is None:
        return torch.einsum("ijh,jhd->ihd", attention, value), attention
    noise = (-exponential.log() / tau).exp()  # [N, H, K]
    kv = torch.einsum("jhm,jhk,jhd->hkmd", k, noise, value)
    numerator = torch.einsum("ihm,hkmd->ihkd", q, kv)
    denominator = torch.einsum("ihm,hkm->ihk", q, torch.einsum("jhm,jhk->hkm", k, noise))
    return (numerator / denominator[..., None]).mean(dim=2), attention


@pytest.mark.parametrize("modals", MODALITIES)
@pytest.mark.parametrize("samples", [0, 3])
def test_nodeformer_relations(modals, samples):
    config, batch, graph, _ = _setup(modals, tau=0.3)
    modalities, utterances, heads, width = len(modals), len(batch.rows), 2, config.hidden_dim
    query, key, value = torch.randn(3, modalities * utterances, heads, width)
    projection = torch.randn(config.nb_features_dim, width)
    exponential = torch.empty(modalities * utterances, heads, max(samples, 1)).exponential_()

    def split(rows):  # [M * U, H, x] -> [B, H, N, x]
        return batch.pad(rows, modalities).flatten(1, 2).transpose(1, 2)

    real = graph.real.repeat(1, modalities)[:, None, :, None]
    attention = relation_weights(*(projected(split(rows), projection, 0.3) for rows in (query, key)), real)
    padded_noise = split(exponential) + ~real  # anything positive on padding
    weights = gumbel_weights(attention, padded_noise, 0.3, real) if samples else attention
    out = (weights @ split(value)).transpose(1, 2).unflatten(1, (modalities, -1))
    links = link_loss(attention, graph)

    edges = EdgeList(config, batch)
    expected, total = torch.zeros_like(value), torch.zeros(())
    for index in range(len(batch.lengths)):
        rows = torch.nonzero((batch.dialogues.sequence == index).repeat(modalities)).squeeze(1)
        noise = exponential[rows] if samples else None
        result, weight = _official_nodeformer(query[rows], key[rows], value[rows], projection, 0.3, noise)
        expected[rows] = result
        local = torch.full((edges.nodes,), -1)
        local[rows] = torch.arange(len(rows))
        source, target = local[edges.index[:, edges.dialogue == index]]
        if len(source):
            indegree = degree(target, len(rows), dtype=torch.float64)
            total = total + (weight[target, source].log() / indegree[target][:, None]).mean()
    torch.testing.assert_close(batch.unpad(out), expected)
    torch.testing.assert_close(links, total)


def test_nodeformer_layers_average_their_link_losses():
    config, batch, graph, x = _setup("ld", use_jk_nodeformer=True)
    model = NodeFormer(config).eval()
    features, link = model(x, batch, graph)
    z = torch.nn.functional.elu(model.norms[0](model.input(x)))
    outputs, links = [z], []
    for index, layer in enumerate(model.layers):
        assert isinstance(layer, NodeFormerLayer)
        step, loss = layer(z, model.projection, batch, graph)
        z = model.norms[index + 1](step + z)
        outputs.append(z)
        links.append(loss)
    torch.testing.assert_close(features, model.jump(torch.cat(outputs, dim=1)))
    torch.testing.assert_close(link, sum(links) / 2)


def test_projection_rows_are_orthogonal_in_blocks():
    from rigsl.model.nodeformer import orthogonal_projection

    rows = orthogonal_projection(7, 4)
    for block in (rows[:4], rows[4:]):
        unit = block / block.norm(dim=1, keepdim=True)
        torch.testing.assert_close(unit @ unit.T, torch.eye(len(block)))
    norms = orthogonal_projection(4000, 16).norm(dim=1)
    assert abs(norms.square().mean() - 16) < 0.5
