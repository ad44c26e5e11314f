"""The RIGSL model (Xiong et al., ICME 2025) in PyTorch; docs/model.md has the formulas.

rigsl        the whole model
encoder      utterance features -> node features
graph        the predefined graph of a batch of dialogues, as masks
sparsify     CGS: edge gates (hard concrete, sparsemax) and message passing over gated edges
sparsemax    the projection on the simplex
backbones    CGS: the graph networks on the sparsified graph
nodeformer   IGR: NodeFormer over all nodes of each dialogue; dense_attention: its weights of all pairs
fusion       encoder, CGS and IGR features -> one feature vector per node
recurrent    bidirectional GRUs over ragged sequences, several networks side by side
dropout      dropout, by fewer random numbers on the CPU
linear       the linear layer, by the fastest matrix product
precision    what is computed in float32 under autocast
"""
