import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from peft_lightning.data.sources import disk_columns
from peft_lightning.data.sources.columns import TextColumn
from peft_lightning.data.sources.disk_columns import on_disk
from peft_lightning.data.sources.tables import read_table, read_texts
from peft_lightning.errors import UserError

SCHEMA = pa.schema({"text": pa.string(), "label": pa.int64()})


def batches(count: int, words: int = 10) -> list[pa.RecordBatch]:
    rows = [[f"review {n} " + "film " * words for n in range(100 * i, 100 * i + 100)] for i in range(count)]
    return [pa.record_batch([texts, list(range(100))], schema=SCHEMA) for texts in rows]


def mapped_mib() -> float:
    """The memory of this process that lies in files, in MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in status if line.startswith("RssFile:")).split()[1]) / 1024


@pytest.mark.parametrize("in_memory", [0, 1 << 30])
def test_rows_are_the_same_on_the_disk_and_in_memory(in_memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_columns, "_IN_MEMORY", in_memory)
    before = len(disk_columns._mappings)
    table = on_disk(SCHEMA, batches(5))
    assert len(disk_columns._mappings) - before == (in_memory == 0)
    assert table.equals(pa.Table.from_batches(batches(5)))
    assert TextColumn(table.column("text")).take(np.array([499, 0])) == [
        f"review {n} " + "film " * 10 for n in (499, 0)
    ]
    del table
    assert len(disk_columns._mappings) == before


def test_reading_a_column_on_the_disk_leaves_it_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_columns, "_IN_MEMORY", 0)
    texts = TextColumn(on_disk(SCHEMA, batches(100, 1100)).column("text"))
    before = mapped_mib()
    characters = sum(map(len, texts))
    assert characters > 48 * 2**20
    assert mapped_mib() - before < 16
    assert len(texts.digest) == 32
    assert mapped_mib() - before < 16


@pytest.mark.parametrize("in_memory", [0, 1 << 30])
def test_a_parquet_file_is_read_alike_whatever_its_size(
    in_memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_columns, "_IN_MEMORY", in_memory)
    metadata = {"huggingface": '{"info": {"features": {"label": {"names": ["n", "p"], "_type": "ClassLabel"}}}}'}
    texts, labels = [f"film {n}" for n in range(9000)], [n % 2 for n in range(9000)]
    encoded = pa.array(texts).dictionary_encode()
    table = pa.table({"other": labels, "label": labels, "text": encoded}).replace_schema_metadata(metadata)
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=3500)
    split = read_table(tmp_path / "a.parquet", "text", "label")
    assert (split.texts, split.labels, split.label_names) == (texts, labels, ["n", "p"])
    assert read_texts(tmp_path / "a.parquet", "text") == texts


def test_a_full_disk_ends_in_a_line_that_names_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        closed = False

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None: ...

        def tell(self) -> int:
            return 0

        def write(self, _: Any) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(disk_columns, "_IN_MEMORY", 0)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(UserError, match=r"cannot keep the rows of a large file in .*No space left.*with TMPDIR"):
        on_disk(SCHEMA, batches(2))
