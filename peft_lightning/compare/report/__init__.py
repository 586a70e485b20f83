"""The report of a comparison, from what its runs left on disk: the table, tests, pictures and the verdict in words."""

from peft_lightning.compare.report.any_report import write_report

__all__ = ["write_report"]
