"""The report of a study: what its page says, and how it is drawn."""
