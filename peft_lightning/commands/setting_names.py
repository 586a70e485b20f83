"""The names that the settings of a run begin with, for those who must know them without building a parser."""

CHECKPOINT = "checkpoint"
# The parts of a configuration, whose settings have a dot.
SECTIONS = ("model", "data", "trainer", CHECKPOINT)
# Settings of their own.
TOP_LEVEL = ("seed_everything", "engine", "memory_limit_gib")
