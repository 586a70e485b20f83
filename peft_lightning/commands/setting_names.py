"""The first parts of the names of a run's settings, known without building a parser."""

CHECKPOINT = "checkpoint"
EARLY_STOPPING = "early_stopping"
CALIBRATION = "calibration"
# The sections of a configuration; their settings have a dot in their name.
SECTIONS = ("model", "data", "trainer", CHECKPOINT, EARLY_STOPPING, CALIBRATION)
# Settings outside any section.
TOP_LEVEL = ("seed_everything", "engine", "memory_limit_gib")
