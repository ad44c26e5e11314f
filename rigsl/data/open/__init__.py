"""Features made from transcripts alone: those of MELD, which anyone can rebuild, and of any other corpus.

open_features         `build_open_features`: three CSV files -> the corpus "MELD-open"
transcript_features   the features of any transcript, and of another one like those of a corpus
meld                  MELD's CSV files -> a checked `Transcript`
delivery              the modality "delivery": timing, turns and typography of an utterance
encoder_files         what the folder of an encoder may hold: nothing that runs
sentence_encoder      sentence vectors of a public encoder
cross_fitted          cross-fitted encoders of a transcript, kept beside its corpus
cross_fitting         emotions of encoders that are fine-tuned on train, out of fold there
emotions              the emotions of a corpus, and which labels made them
settings              the settings of a fine-tuning
fine_tuned            the file of fine-tuned encoders
fine_tuning           the training of one encoder
emotion_encoder       an encoder with a classifier: its inputs and log-probabilities
low_rank              low-rank adapters of linear layers
processes             independent computations in processes of one thread each
"""
