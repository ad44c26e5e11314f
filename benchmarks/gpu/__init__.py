"""What a machine with a GPU must show: ``python -m benchmarks.gpu``.

command   the command line; runs the parts one after the other
results   the rows of a run, in a file that survives a run that is cut off
page      docs/gpu.md, from these rows
context   what a part is told: device, time, folders
golden    the numbers recorded from the official code
noise     the same random numbers on the CPU and on a GPU
searches  searches as a user runs them, in a process of their own

The parts: parity, speed, memory, packing, study, faults (with faulty_search, which faults runs).
"""
