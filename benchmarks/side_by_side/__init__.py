"""Measuring peers side by side: what is run, how it is timed, what it is held against, and the tables."""
