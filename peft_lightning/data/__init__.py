"""Data loading: sources of labelled text, seeded subsets, tokenisation, batches and the data module."""
