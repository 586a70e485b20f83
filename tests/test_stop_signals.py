import doctest
import os
import signal
from collections.abc import Iterator

import pytest

from peft_lightning import stop_signals
from peft_lightning.__main__ import main
from peft_lightning.commands import registry
from peft_lightning.stop_signals import SIGNALS, Stopped, listening


@pytest.fixture(autouse=True)
def hearing() -> Iterator[None]:
    """Tests that a shell runs in the background are deaf to Ctrl-C, and those under nohup to the terminal's end."""
    usual = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in usual.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_that_reaches_a_command_is_a_line_and_the_code_of_the_table(
    sent: signal.Signals, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "load", lambda word: lambda words: os.kill(os.getpid(), sent))
    with pytest.raises(SystemExit) as ended:
        main(["report"])
    assert ended.value.code == code
    assert capsys.readouterr().err == f"\npeft_lightning: stopped by {sent.name}\n"
    assert signal.getsignal(sent) is signal.SIG_DFL


def test_lightning_s_own_handlers_are_replaced_again_when_asked() -> None:
    with listening(owns_process=False):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stop_signals.listen_again()
        with pytest.raises(Stopped):
            os.kill(os.getpid(), signal.SIGINT)


def test_other_signals_stay_whose_they_are() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with listening(owns_process=False):
        assert signal.getsignal(signal.SIGUSR1) is before


def test_the_examples_of_the_module_hold() -> None:
    assert doctest.testmod(stop_signals).failed == 0
