"""Features made from MELD's public transcripts alone, so that anyone can rebuild them.

open_features      `build_open_features`: three CSV files -> the corpus "MELD-open"
meld               MELD's CSV files -> a checked `Transcript`
delivery           the modality "delivery": timing, turns and typography of an utterance
encoder_files      what the folder of an encoder may hold: nothing that runs
sentence_encoder   sentence vectors of a public encoder
cross_fitting      emotions of encoders that are fine-tuned on train, out of fold there
fine_tuned         the settings and the file of fine-tuned encoders
fine_tuning        the training of one encoder
emotion_encoder    an encoder with a classifier: its inputs and log-probabilities
low_rank           low-rank adapters of linear layers
processes          independent computations in processes of one thread each
"""
