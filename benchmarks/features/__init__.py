"""What fine-tuned columns do to a score: constructions compared on pseudo-tests that are cut out of train.

``python -m benchmarks.features --csv FOLDER`` fine-tunes the encoders, trains the models and prints the
tables of docs/features.md. It goes on where it was interrupted. Labels of dev and test are read by the probe
alone, which has chosen its settings on train.

cuts            pseudo-tests: train cut into a smaller train, dev and test
encoders        fine-tuned encoders, and what they say of every training utterance
options         ways of fine-tuning, compared out of fold
constructions   the columns of a cut: in-sample, out of fold, nested
learners        logistic regression and RIGSL on them
sizes           a small train with fine-tuned columns and without
probe           a linear probe of the bundled corpus
tables          the tables
command         the command line
"""
