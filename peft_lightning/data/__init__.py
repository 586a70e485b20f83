"""Labelled text: where it comes from, which of it is used, how it becomes batches."""
