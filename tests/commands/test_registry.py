import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from peft_lightning import commands
from peft_lightning.__main__ import main
from peft_lightning.commands.registry import list_commands, load
from tests.integration.offline_run import SOURCES

GREET = '''"""greet: say hello to somebody.

greet NAME      to one
greet --all     to everybody
"""

from peft_lightning.errors import Setting, UserError


def run(words: list[str]) -> None:
    if not words:
        raise UserError("greet whom? say ", Setting("data.n_train", 3))
    print("hello", *words)
'''


@pytest.fixture
def greet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command that is one file, and another file that is none."""
    (tmp_path / "greet.py").write_text(GREET)
    (tmp_path / "greeting.py").write_text('"""greet: what a helper of it would say."""\nraise SystemExit\n')
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    yield
    sys.modules.pop("peft_lightning.commands.greet", None)
    vars(commands).pop("greet", None)


def test_the_commands_stand_in_the_order_of_a_run() -> None:
    words = [command.word for command in list_commands()]
    assert words[:8] == ["fit", "validate", "test", "predict", "export", "serve", "compare", "report"]


def test_every_command_says_what_it_does_and_how_it_is_used() -> None:
    for command in list_commands():
        assert command.summary
        assert command.usage
        assert all(line.startswith(f"{command.word} ") for line in command.usage)
        assert callable(load(command.word))


@pytest.mark.usefixtures("greet")
def test_one_file_makes_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["greet", "the", "world"])
    assert capsys.readouterr().out == "hello the world\n"
    with pytest.raises(SystemExit) as ended:
        main(["greet"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "peft_lightning: error: greet whom? say --data.n_train 3\n"
    with pytest.raises(SystemExit):
        main(["great"])
    assert "compare, report, greet (--help" in capsys.readouterr().err


@pytest.mark.usefixtures("greet")
def test_help_shows_a_command_that_it_does_not_import(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    shown = capsys.readouterr().out
    assert "greet      say hello to somebody\n    python -m peft_lightning greet NAME      to one\n" in shown
    assert "greeting" not in shown
    assert "peft_lightning.commands.greet" not in sys.modules


@pytest.mark.parametrize(
    ("started", "words"),
    [
        ("/usr/bin/peft-lightning", "peft-lightning"),
        ("/somewhere/peft_lightning/__main__.py", "python -m peft_lightning"),
    ],
)
def test_help_names_the_program_as_it_was_started(
    started: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [started, "--help"])
    main()
    assert f"    {words} report lightning_logs/compare/NAME\n" in capsys.readouterr().out
    for word in ("compare", "report", "validate"):
        monkeypatch.setattr(sys, "argv", [started, word, "--help"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        assert capsys.readouterr().out.startswith(f"usage: {words} ")
    gc.unfreeze()


@pytest.mark.usefixtures("greet")
def test_what_a_program_of_its_own_imports_is_never_looked_through_again(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = gc.get_freeze_count()
    try:
        main(["greet", "somebody"])
        assert gc.get_freeze_count() == frozen
        monkeypatch.setattr(sys, "argv", ["peft-lightning", "greet", "somebody"])
        main()
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()


def test_a_bare_help_imports_nothing_heavy() -> None:
    program = (
        "import json, sys; from peft_lightning.__main__ import main; main(['--help'])\n"
        "print(json.dumps(list(sys.modules)))"
    )
    shown = subprocess.run(
        [sys.executable, "-S", "-c", program], env={"PYTHONPATH": str(SOURCES)}, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    imported = set(json.loads(shown.stdout.splitlines()[-1]))
    # Without the site's packages nothing else could be.
    assert not {name for name in imported if name.startswith("peft_lightning.compare")}
    assert not {f"peft_lightning.commands.{command.word}" for command in list_commands()} & imported
    assert not {"argparse", "tempfile", "asyncio", "multiprocessing"} & imported
