import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import FileLock

from peft_lightning.__main__ import main
from peft_lightning.commands import compare
from peft_lightning.commands.compare import stopping_in_order
from peft_lightning.compare.comparison import Options
from peft_lightning.compare.execution.executor import ExecutorOptions
from peft_lightning.compare.plan.building import build_plan
from peft_lightning.compare.plan.plan import FILE, Plan
from tests.commands.holding import held_elsewhere

RECIPES = ("configs/lora.yaml", "configs/ia3.yaml")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a `compare` is refused with."""
    with pytest.raises(SystemExit) as ended:
        main(["compare", *words])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("peft_lightning: error: ")
    return line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no recipe to compare"),
        ([*RECIPES, "--sedes", "1"], "--sedes is no option of compare: did you mean --seeds?"),
        ([*RECIPES, "--dat.n_train", "3"], "--dat.n_train is no setting: did you mean --data.n_train?"),
        ([*RECIPES, "--live"], "--live is no option of compare: --help lists the options"),
        ([*RECIPES, "--seeds", "one"], "invalid int value: 'one'"),
        ([*RECIPES, "--seeds", "-1"], "a seed is a whole number from 0"),
        ([*RECIPES, "--seed_everything", "3"], "cannot be overridden in a comparison: say --seeds"),
        ([*RECIPES, "--name", "a/b"], "'a/b' is no name for a folder"),
        ([*RECIPES, "--name", ".."], "is no name for a folder"),
        ([*RECIPES, "--jobs", "0"], "--jobs 0: say 1 or more"),
        ([*RECIPES, "--share_gpu", "0"], "--share_gpu 0: say 1 or more"),
        ([*RECIPES, "--devices_per_run", "0"], "--devices_per_run 0: say 1 or more"),
        ([*RECIPES, "--devices_per_run", "2", "--share_gpu", "2"], "--share_gpu 2: runs of 2 devices each share none"),
        ([*RECIPES, "--devices_per_run", "2", "--trainer.devices", "4"], "leave --trainer.devices out"),
        (["--resume", "nowhere", "--devices_per_run", "2"], "leave --devices_per_run out"),
        ([*RECIPES, "--jobs", "2", "--trainer.accelerator", "cpu"], "--jobs 2: trainer.accelerator is cpu"),
        ([*RECIPES, "--tune", "3", "--model.learning_rate", "1e-3"], "leave one of them out"),
        ([*RECIPES, "--baseline", "vera"], "--baseline vera is none of the recipes: there are "),
        (
            [RECIPES[0], "--baseline", RECIPES[0]],
            "is the only recipe: name another to compare with it, or leave it out",
        ),
        ([*RECIPES, "--metric", "mc"], "--metric mc is no metric that recipes can be compared by: single_label"),
        ([*RECIPES, "--metric", "ece"], "--metric ece has a bias as large as what it is to tell apart: compare brier"),
        ([*RECIPES, "--sweep", "data.n_train", "100"], "--sweep data.n_train: name two values or more"),
        ([*RECIPES, "--sweep", "n_train", "1", "2"], "--sweep n_train is no setting: name it in full"),
        ([*RECIPES, *("--sweep", "data.n_train", "1", "2") * 2], "--sweep is there 2 times"),
        (["--resume", "nowhere", "--sweep", "data.n_train", "1", "2"], "leave --sweep out"),
        ([*RECIPES, "--name", "a/b", "--dry_run"], "'a/b' is no name for a folder"),
        ([*RECIPES, "--tune", "1"], "a choice takes 2 learning rates or more"),
        ([*RECIPES, "--overlay"], "expected one argument"),
        ([*RECIPES, "--config"], "expected one argument"),
        (
            [*RECIPES, "--config", "configs/full.yaml"],
            "--config configs/full.yaml names a method, which would be every",
        ),
        ([*RECIPES, "configs/lean.yaml"], "names no method (model.method): if it is for all recipes, say --config"),
        ([*RECIPES, "--method", "lora"], "compare takes several methods, each by its recipe"),
        ([*RECIPES, "--n_train"], "--n_train: say --n_train N"),
        (
            ["--resume", "nowhere"],
            "--resume nowhere: there is no comparison; name its folder, lightning_logs/compare/NAME",
        ),
        (["--resume", "nowhere", RECIPES[0], "--seeds", "1", "--data.n_train=8"], "--seeds, --data.n_train out"),
        (["--resume", "nowhere", "--metric", "f1"], "leave --metric out"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in refusal(words, capsys)
    assert list(Path().rglob("*")) in ([], [Path("lightning_logs"), Path("lightning_logs/compare")])


def planned(words: list[str], monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan of the comparison that a command line would begin."""
    plans: list[Plan] = []

    def begin(plan: Plan, *others: object) -> bool:
        plans.append(plan)
        return True

    monkeypatch.setattr(compare, "begin", begin)
    main(["compare", *RECIPES, *words])
    (plan,) = plans
    return plan


def test_files_for_all_recipes_are_laid_over_them_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, epochs in (("a", 1), ("b", 2), ("c", 4)):
        Path(f"{name}.yaml").write_text(f"trainer: {{max_epochs: {epochs}, {name}: true}}\n")
    plan = planned(["--config", "b.yaml", "--overlay=a.yaml", "--config=c.yaml", "-c", "a.yaml"], monkeypatch)
    assert plan.overlays == ("b.yaml", "a.yaml", "c.yaml", "a.yaml")
    for recipe in plan.recipes:
        assert recipe.settings["trainer"]["max_epochs"] == 1
        assert {"a", "b", "c"} <= recipe.settings["trainer"].keys()


def test_a_metric_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    assert planned(["--metric", "f1.positive"], monkeypatch).metric == "f1.positive"
    assert planned([], monkeypatch).metric is None


def test_devices_per_run_are_planned_for_every_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(["--devices_per_run", "2"], monkeypatch)
    assert plan == planned(["--trainer.devices", "2"], monkeypatch)
    assert [int(plan.settings_of(recipe)["trainer"]["devices"]) for recipe in plan.recipes] == [2, 2]


def test_shorthands_plan_what_the_long_words_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    short = planned(["--n_train", "100", "--n_test=50", "--flash_attn"], monkeypatch)
    attention = ("--model.attn_implementation", "flash_attention_2")
    assert short == planned(["--data.n_train", "100", "--data.n_test", "50", *attention], monkeypatch)
    data, model = {"n_train": "100", "n_test": "50"}, {"attn_implementation": "flash_attention_2"}
    assert short.overrides == {"data": data, "model": model}


def test_resume_names_the_comparisons_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    build_plan(RECIPES, [1]).write(Path("lightning_logs/compare/mine"))
    assert "here are lightning_logs/compare/mine" in refusal(["--resume", "min"], capsys)


def test_a_comparison_is_not_begun_twice(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("lightning_logs/compare/mine")
    build_plan(RECIPES, [1]).write(folder)
    before = (folder / FILE).read_bytes()
    assert "already holds a comparison" in refusal([*RECIPES, "--name", "mine", "--tune", "2"], capsys)
    assert (folder / FILE).read_bytes() == before
    assert not (folder / "tuning.json").exists()


def test_two_compares_do_not_work_on_one_folder(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("lightning_logs/compare/mine")
    build_plan(RECIPES, [1]).write(folder)
    with held_elsewhere(folder / ".lock"):
        for words in (["--resume", str(folder)], [*RECIPES, "--name", "mine"]):
            assert f"{folder} is being worked on by another compare" in refusal(words, capsys)
    with FileLock(folder / ".lock", timeout=1):  # a killed process holds nothing
        pass


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_it_with_the_command_to_go_on_with(
    sent: signal.Signals, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        with stopping_in_order(Path("some/where"), Options(jobs=2, texts=False)):
            os.kill(os.getpid(), sent)
            time.sleep(5)

    # Tests that a shell runs in the background are deaf to Ctrl-C, and those under nohup to the terminal's end.
    before = signal.default_int_handler if sent == signal.SIGINT else signal.SIG_DFL
    usual = signal.signal(sent, before)
    try:
        with pytest.raises(SystemExit) as ended:
            work()
        after = signal.getsignal(sent)
    finally:
        signal.signal(sent, usual)
    assert ended.value.code == code
    said = capsys.readouterr().out
    assert "go on with python -m peft_lightning compare --resume some/where --jobs 2\n" in said
    assert after is before


def test_what_nohup_made_it_deaf_to_does_not_end_it() -> None:
    usual = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_in_order(Path("some/where"), Options()):
            os.kill(os.getpid(), signal.SIGHUP)
            time.sleep(0.05)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, usual)


@pytest.mark.parametrize(("work", "code"), [("os.kill(os.getpid(), signal.SIGINT)", 130), ("print('row')", 141)])
def test_it_ends_in_order_where_nobody_reads_its_output_any_more(work: str, code: int) -> None:
    program = (
        "import os, signal, time; from pathlib import Path\n"
        "from peft_lightning.commands.compare import stopping_in_order\n"
        "from peft_lightning.compare.comparison import Options\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"with stopping_in_order(Path('mine'), Options()): {work}; time.sleep(0.1); print('another', flush=True)"
    )
    reading, writing = os.pipe()
    os.close(reading)
    root = str(Path(__file__).resolve().parents[2])
    ended = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": root}, stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (code, "")


def test_help_answers_without_what_training_takes() -> None:
    program = (
        "import sys; from peft_lightning.__main__ import main\n"
        "try: main(['compare', '--help'])\n"
        "except SystemExit as ended: assert not ended.code\n"
        "heavy = {'torch', 'lightning', 'transformers', 'pandas', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "sys.exit(f'imports {heavy}' if heavy else 0)"
    )
    root = str(Path(__file__).resolve().parents[2])
    answer = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": root, "COLUMNS": "80"}, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    for word in (
        "--seeds",
        "--config",
        "--overlay",
        "--n_train",
        "--resume",
        "--tune",
        "--sweep",
        "--dry_run",
        "--jobs",
        "--devices_per_run",
        "--share_gpu",
        "--cold_starts",
        "--no_forecast",
        "--no_texts",
        "Ctrl-C",
    ):
        assert word in answer.stdout


def test_the_command_to_go_on_with_repeats_how_runs_start() -> None:
    shared = Options(jobs=4, starting=ExecutorOptions(cold_starts=True, share_gpu=8))
    assert shared.resume(Path("mine")) == "--resume mine --jobs 4 --cold_starts --share_gpu 8"
    assert Options().resume(Path("mine")) == "--resume mine"


def test_an_executor_that_is_not_there_is_refused_before_a_folder_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no executor cloud: choose one of local, ray, slurm" in refusal(
        [*RECIPES, "--executor", "cloud"], capsys
    )
    assert not Path("lightning_logs").exists()
