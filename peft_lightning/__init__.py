"""peft-lightning: the reference harness for comparing fine-tuning methods."""

__version__ = "0.1.0"
