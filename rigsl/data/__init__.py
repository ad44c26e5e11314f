"""Corpora: what a dataset is, where its features come from, and batches of it.

corpus        `Corpus`: features, labels and speakers of dialogues in three splits, in one .safetensors file
source        `load_corpus`: a dataset's name -> its corpus; the registry of datasets
batches       dialogues of a corpus -> the tensors of a batch
gather        rows <-> padded arrays
tensor_file   the file format of a corpus
unlabelled    a corpus of dialogues without labels, for predictions
official      the feature files of RIGSL's authors
open          features made from MELD's public transcripts
own           corpora of transcripts and features of one's own
scaling       features on the scale of the training split
"""
