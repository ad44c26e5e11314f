"""What is printed on the terminal.

- progress: a running study, live.
- status: what studies are doing (--status).
- summary: the plan of a search before it starts, and its result.
- comparison: studies side by side (--compare).
"""
