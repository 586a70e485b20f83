"""The peers: each file trains the same work in one peer's way, in a process of its own."""
