"""What setup.cfg, the lock files and the wheel promise: nothing forgotten, nothing accidental."""

import ast
import configparser
import json
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "peft_lightning"
CONFIGS = ROOT / "configs"
LEFT_OVERS = shutil.ignore_patterns("__pycache__", "*.pyc")


def setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def requirements(config: configparser.ConfigParser) -> tuple[list[Requirement], list[Requirement]]:
    def parse(text: str) -> list[Requirement]:
        return [Requirement(line) for line in text.splitlines() if line]

    return parse(config["options"]["install_requires"]), parse(config["options.extras_require"]["dev"])


def pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith(("#", "--")))


def package_folders() -> dict[str, Path]:
    """Every folder that has to be a package: Python inside the package, recipes under `configs/`."""
    python = {path.parent for path in PACKAGE.rglob("*.py")}
    folders = {".".join(path.relative_to(ROOT).parts): path for path in python}
    recipes = {path.parent for path in CONFIGS.rglob("*.yaml")}
    folders |= {".".join(("peft_lightning", *path.relative_to(ROOT).parts)): path for path in recipes}
    return folders


def data_files() -> set[Path]:
    every = [*PACKAGE.rglob("*"), *CONFIGS.rglob("*")]
    return {
        path
        for path in every
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in {".py", ".pyc"}
    }


def test_every_package_is_listed() -> None:
    assert sorted(setup_cfg()["options"]["packages"].split()) == sorted(package_folders())


def test_every_package_but_the_recipes_has_an_init() -> None:
    packages = [path for path in package_folders().values() if PACKAGE in (path, *path.parents)]
    assert [str(path) for path in packages if not (path / "__init__.py").is_file()] == []


def test_every_data_file_travels() -> None:
    folders = package_folders()
    matched = {
        path
        for package, patterns in setup_cfg()["options.package_data"].items()
        if package in folders
        for pattern in patterns.split()
        for path in folders[package].glob(pattern)
    }
    assert sorted(map(str, data_files() - matched)) == []


def test_every_import_is_declared() -> None:
    extras = setup_cfg()["options.extras_require"]
    extra = [Requirement(line) for name in ("onnx", "ray", "serve") for line in extras[name].splitlines() if line]
    declared = {canonicalize_name(wanted.name) for wanted in [*requirements(setup_cfg())[0], *extra]}
    distributions = packages_distributions()
    undeclared = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                modules = [node.module]
            else:
                continue
            for module in {name.partition(".")[0] for name in modules} - {"peft_lightning"}:
                if module in sys.stdlib_module_names:
                    continue
                providers = {canonicalize_name(name) for name in distributions.get(module, [module])}
                if not providers & declared:
                    undeclared.add(f"{path.relative_to(ROOT)} imports {module}")
    assert sorted(undeclared) == []


@pytest.mark.parametrize("extra", [False, True], ids=["runtime", "dev"])
def test_locks_satisfy_setup_cfg(extra: bool) -> None:
    locked = pins("requirements.lock") | (pins("requirements-dev.lock") if extra else {})
    for wanted in requirements(setup_cfg())[extra]:
        version = locked.get(canonicalize_name(wanted.name))
        assert version is not None, f"{wanted.name} is not locked: make lock"
        assert wanted.specifier.contains(version), f"{wanted} is locked at {version}: make lock"


def test_locks_fit_any_build_of_torch() -> None:
    runtime, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    assert not runtime.keys() & dev.keys()
    for name, version in (runtime | dev).items():
        assert not re.match(r"(nvidia|cuda|triton)\b", name)
        assert "+" not in version


def test_the_lock_script_leaves_torchs_own_out() -> None:
    """The machine that locks may have a CUDA build: its companions must not reach everybody's lock."""
    pattern = runpy.run_path(str(ROOT / "scripts" / "lock.py"))["OF_TORCH_BUILD"]
    for name in ("nvidia-cublas-cu12", "nvidia-nccl", "cuda-bindings", "triton"):
        assert pattern.match(name)
    assert not pattern.match("torch")


@pytest.fixture(scope="module")
def unpacked_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built from a copy: a `build/` of other days would leak into it."""
    tree, dist, unpacked = (tmp_path_factory.mktemp(name) for name in ("tree", "dist", "unpacked"))
    for folder in (PACKAGE, CONFIGS):
        shutil.copytree(folder, tree / folder.name, ignore=LEFT_OVERS)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), str(tree)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = dist.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(unpacked)
    return unpacked


@pytest.mark.slow
def test_wheel_carries_the_package_and_nothing_else(unpacked_wheel: Path) -> None:
    sources = {path.relative_to(ROOT) for path in [*PACKAGE.rglob("*.py"), *data_files()]}
    expected = {path if path.parts[0] == "peft_lightning" else Path("peft_lightning", path) for path in sources}
    found = {path.relative_to(unpacked_wheel) for path in unpacked_wheel.rglob("*") if path.is_file()}
    found = {path for path in found if not path.parts[0].endswith(".dist-info")}
    assert sorted(found ^ expected) == []


@pytest.mark.slow
def test_wheel_says_who_it_is(unpacked_wheel: Path) -> None:
    (info,) = unpacked_wheel.glob("*.dist-info")
    metadata = (info / "METADATA").read_text(encoding="utf-8")
    assert "Name: peft-lightning\n" in metadata
    assert "License-Expression: MIT\n" in metadata
    assert (info / "licenses" / "LICENSE").is_file()
    assert "peft-lightning = peft_lightning.__main__:main" in (info / "entry_points.txt").read_text()


@pytest.mark.slow
def test_wheel_runs_from_an_empty_directory(
    unpacked_wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(unpacked_wheel))
    where = "import peft_lightning; print(peft_lightning.__file__)"
    found = subprocess.run([sys.executable, "-c", where], cwd=tmp_path, capture_output=True, text=True)
    assert found.stdout.startswith(str(unpacked_wheel))
    command = [sys.executable, "-m", "peft_lightning", "--help"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    assert "fit" in answer.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_wheel_trains_tests_and_predicts_in_an_empty_directory(
    unpacked_wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(unpacked_wheel))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sizes = ["--data.n_train", "16", "--data.n_val", "8", "--data.n_test", "8", "--data.max_length", "32"]
    recipe = ["--config", "configs/qlora.yaml", "--config", "configs/offline.yaml", "--trainer.max_epochs", "1"]
    run = tmp_path / "lightning_logs" / "qlora" / "version_0"
    (tmp_path / "reviews.txt").write_text("a joy\na bore\n")
    predict = ["predict", "--config", str(run / "config.yaml"), "--data.predict_file", "reviews.txt"]
    for words in (
        ["fit", *recipe, *sizes],
        ["test", "--config", str(run / "config.yaml"), "--ckpt_path", "best"],
        [*predict, "--ckpt_path", "best", "--output", "out.jsonl"],
    ):
        command = [sys.executable, "-m", "peft_lightning", *words, "--trainer.accelerator", "cpu"]
        answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
    record = json.loads((run / "results.json").read_text())
    assert record["status"] == "finished"
    # A machine may hold the recipe's own roberta-base and imdb: here the packaged overlay has to have been read.
    assert record["backbone"]["name"] == record["dataset"]["source"] == "embedded"
    assert json.loads((run / "test_0" / "metrics.json").read_text())["metrics"].keys() >= {"test/acc"}
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2
