"""Run ``python -m benchmarks.efficiency``."""

from benchmarks.efficiency.command import main

if __name__ == "__main__":
    main()
