from pathlib import Path

import numpy as np
import pytest

from peft_lightning.runs.curves import BUCKETS, Curves, decimate, smooth
from peft_lightning.task import FIRST


def test_only_whole_lines_are_read_and_each_once(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    found = Curves(path, FIRST.headline)
    assert not found.read()
    path.write_text("step,name,value\n1,train/loss,0.5\n2,train/lo")
    assert found.read()
    assert found.step == 1
    with path.open("a") as file:
        file.write("ss,0.25\n2,train/gradient_norm,7\n2,val/loss,nan\n")
    assert found.read()
    assert not found.read()
    points = found.points("train/loss")
    assert points is not None
    assert [list(part) for part in points] == [[1, 2], [0.5, 0.25]]
    assert found.points("val/loss") is None
    assert found.points("train/gradient_norm") is None


def test_the_smoothed_curve_neither_lags_nor_ends_in_noise() -> None:
    line = np.arange(200.0)
    smoothed, window = smooth(line)
    assert window == 21
    assert smoothed[10:-10] == pytest.approx(line[10:-10])
    noise = np.random.default_rng(0).normal(size=1000)
    assert np.abs(smooth(noise)[0]).max() < 0.6
    few = np.array([3.0, 1.0, 2.0])
    assert smooth(few)[1] == 1
    assert list(smooth(few)[0]) == [3, 1, 2]


def test_a_long_curve_keeps_its_spikes_and_its_ends() -> None:
    values = np.sin(np.arange(100_003) / 1000)
    values[51_234], values[70_001] = 50, -50
    shown = decimate(values)
    assert len(shown) < 4 * BUCKETS
    assert {0, 51_234, 70_001, 100_002} <= set(shown.tolist())
    assert list(shown) == sorted(set(shown.tolist()))
    assert list(decimate(values[:900])) == list(range(900))
