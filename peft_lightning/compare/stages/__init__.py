"""What a comparison does before its runs: a forecast of time and memory, a choice of learning rates."""
