"""The optimisers, the schedules of their learning rate, and how many steps a run takes."""
