"""The work under way, shown in a terminal or a log."""
