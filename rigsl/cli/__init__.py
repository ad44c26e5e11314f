"""`python -m rigsl`: the command line of the model. torch is imported only when a command runs.

main         the commands and their options
arguments    options that several commands share
train        what `train` and `test` print and write
transcript   `predict --csv`
graph        `graph`
official     `train` and `test` with the official flags, and `import-checkpoint`
"""
