"""Export of a finished study: what ``best/`` holds, and whether it can be reproduced.

- best: weights, configuration, scores, rerun script and official command
- model_card: the README beside them
- narrow: a narrowed search space around the good trials, for a second study
- rerun: train an exported configuration again and compare the scores
- environment: package versions, git commit and machine
"""
