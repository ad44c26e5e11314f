"""Features that a user brings -> modalities of a corpus.

modalities     features -> standardised arrays with a row for each utterance
files          files of any format -> features
rows           features, and how they name utterances
number_table   tables of numbers
clips          openSMILE and OpenFace: clips, whose frames are pooled
"""
