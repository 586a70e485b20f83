import errno
import os
import subprocess
import sys

from peft_lightning.gone_reader import READER_GONE, is_reader_gone


def test_a_command_whose_reader_has_gone_ends_without_a_word() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-m", "peft_lightning"], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (READER_GONE, "")


def test_a_file_that_cannot_be_written_is_no_reader_that_has_gone() -> None:
    assert is_reader_gone(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert not is_reader_gone(OSError(errno.EIO, "Input/output error", "results.json"))
    assert not is_reader_gone(OSError(errno.ENOSPC, "No space left on device"))
