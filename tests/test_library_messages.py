import inspect
import logging

import pytest

from peft_lightning.library_messages import quieten


def test_a_missing_optional_package_is_not_complained_about_and_all_else_is(caplog: pytest.LogCaptureFixture) -> None:
    quieten()
    from bitsandbytes.backends.cpu import ops

    complaint = "Failed to load CPU gemm_4bit_forward from kernels-community: %s. Please make sure"
    assert complaint in inspect.getsource(ops), "bitsandbytes words it otherwise now: the filter has to follow"
    ops.logger.warning(complaint, ImportError("No module named 'kernels'"))
    ops.logger.warning("something that a user should know: %s", "this")
    logging.getLogger("bitsandbytes.cextension").warning("no library")
    assert [record.getMessage() for record in caplog.records] == [
        "something that a user should know: this",
        "no library",
    ]
