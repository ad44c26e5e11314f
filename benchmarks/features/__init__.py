"""What fine-tuned columns do to a score: constructions compared on pseudo-tests that are cut out of train.

``python -m benchmarks.features --csv FOLDER`` fine-tunes the encoders, trains the models and prints the
tables of docs/features.md. It reads no label of dev and test, and goes on where it was interrupted.

cuts            pseudo-tests: train cut into a smaller train, dev and test
encoders        fine-tuned encoders, and what they say of every training utterance
options         ways of fine-tuning, compared out of fold
constructions   the columns of a cut: in-sample, out of fold, nested
learners        logistic regression and RIGSL on them
tables          the tables
command         the command line
"""
