"""Executors: they start the runs of a comparison, each alone, and report how each ended."""
