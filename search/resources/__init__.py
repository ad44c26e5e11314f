"""What a study runs on: nodes, concurrent trials, and the memory of each.

- workers: how many trials run concurrently, and what each of them gets.
- environment: the variables with which Ray is quiet.
- authentication: the token that a Ray instance demands.
- versions: what a worker would compute with, to be compared between machines.
- cluster: join a Ray cluster and check its nodes.
- memory_limit: whether a configuration fits a worker's memory, and its relative cost.
"""
