"""Views that show the state of a comparison's jobs, in a terminal or a log."""
