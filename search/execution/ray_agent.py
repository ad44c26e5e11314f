"""Stands in for an agent of a private Ray's raylet: a process that does nothing and ends with its raylet.

A raylet needs two agents, and ends when one of them ends. Ray's own ones serve its dashboard and runtime
environments, which a private Ray has not, and take a second of imports each before the first worker starts.
This file is run as a script, with Python's built-in modules only; see ray_processes.py.
"""

import os
import time

if __name__ == "__main__":
    raylet = int(os.environ["RAY_RAYLET_PID"])
    while os.getppid() == raylet:
        time.sleep(0.5)
