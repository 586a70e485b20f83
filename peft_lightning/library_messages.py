"""What Lightning and the libraries below it say, and which of it a user of this program is to see."""

import logging
import warnings


def quieten() -> None:
    """Silences what Lightning and its libraries say that no user of this program can act on."""
    for name in (
        "lightning.pytorch.utilities.rank_zero",
        "lightning.fabric.utilities.rank_zero",
        "lightning.fabric",
    ):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*is smaller than the logging interval.*",
        ".*No (positive|negative) samples in targets.*",
    ):
        warnings.filterwarnings("ignore", message=message)
    # Said at import on processors that an optional package would serve, whether anything is quantised or not.
    logging.getLogger("bitsandbytes.backends.cpu.ops").addFilter(_not_about_optional_kernels)


def _not_about_optional_kernels(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Failed to load CPU gemm_4bit_forward from kernels-community")
