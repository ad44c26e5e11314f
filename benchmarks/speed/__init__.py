"""Speed and memory, each module a command: ``python -m benchmarks.speed.NAME``.

- step: time and memory of a training step, also of the official code (official, a library)
- overhead: time that a search adds to its trainings
- proposals: time of one proposal in large studies
- packing: throughput of concurrent trainings on one device
- memory: the memory estimate against measured peaks
"""
