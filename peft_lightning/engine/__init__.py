"""How a training step runs: by Lightning's own calls, in pieces that fit the memory, or captured in a CUDA graph."""
