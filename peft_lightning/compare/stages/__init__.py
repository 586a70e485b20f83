"""The stages of a comparison before its runs: the forecast of time and memory, and the choice of learning rates."""
