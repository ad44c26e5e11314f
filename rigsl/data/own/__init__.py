"""Corpora of one's own: transcripts with labels and, perhaps, features -> a `Corpus`.

build         tables and features -> a corpus; how it is done
files, frame  the same of files, and of data frames
columns       the usual names of columns
utterances    tables -> utterances in the order of dialogues
labels        labels -> classes
splits        the split of every dialogue, given or drawn
texts         features of the texts, and when an encoder is fine-tuned for them
provenance    where a corpus comes from
description   what is in a corpus, in lines of text
picture       the same as a picture
reading       files of any format -> tables of texts
features      files of features -> modalities
"""
