"""Where and how the runs of a comparison are carried out, and what became of each."""
