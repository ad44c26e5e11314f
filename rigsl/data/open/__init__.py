"""Features made from MELD's public transcripts alone, so that anyone can rebuild them.

open_features      `build_open_features`: three CSV files -> the corpus "MELD-open"
meld               MELD's CSV files -> a checked `Transcript`
delivery           the modality "delivery": timing, turns and typography of an utterance
encoder_files      what the folder of an encoder may hold: nothing that runs
sentence_encoder   sentence vectors of a public encoder
"""
