"""Reads texts from files: Parquet, CSV, TSV, JSON Lines, and plain text with one text per line."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from peft_lightning.data.sources.checked_rows import PairColumns, checked_pairs, numbered_rows
from peft_lightning.data.sources.columns import joined, values_of
from peft_lightning.data.sources.corpus import RawSplit
from peft_lightning.data.sources.large_files import read_large_texts
from peft_lightning.data.sources.quoting import Quoting
from peft_lightning.data.sources.splits import label_columns, labelled_split
from peft_lightning.data.sources.table_columns import TABLE_SUFFIXES, read_columns, table_suffix
from peft_lightning.data.sources.text_files import read_lines
from peft_lightning.data.sources.text_pairs import Texts
from peft_lightning.errors import Setting, UserError

if TYPE_CHECKING:
    import pyarrow as pa


def read_table(
    paths: Path | Sequence[Path],
    text_column: str,
    label_column: str | Sequence[str],
    quoting: Quoting = "auto",
    name: str | None = None,
    text_pair_column: str | None = None,
) -> RawSplit:
    """Reads labelled texts.

    Args:
        paths: A file, or several that follow each other; the suffix tells the format: .parquet, .csv, .tsv, .jsonl, or
            .json for JSON Lines, one list or one object of columns; all but Parquet may be compressed, with .gz added.
        text_column: Name of the column of texts.
        label_column: Name of the column of labels, or of several.
        quoting: Whether a quotation mark at the start of a CSV's or TSV's field encloses the field.
        name: Name of the split in error messages; the path of the file if it is one.
        text_pair_column: Name of the column of second texts; None for single texts.

    Returns:
        The rows in the files' order.

    Raises:
        UserError: If a file cannot be read, lacks a column, or has a row without text or label.
        Unlabelled: If it has no labels at all.
    """
    paths = [paths] if isinstance(paths, Path) else list(paths)
    names = label_columns(label_column)
    asked = _asked(text_column, text_pair_column) | dict.fromkeys(names, "label_column")
    read = [read_columns(path, asked, quoting, names[0]) for path in paths]
    label_names = None if len(names) > 1 else read[0].label_names.get(names[0])
    for path, columns in zip(paths, read, strict=True):
        if len(names) == 1 and columns.label_names.get(names[0]) != label_names:
            raise UserError(f"{path} names its labels otherwise than {paths[0]}: write both with the same names")
    # Texts stay in Arrow. Labels are Python's: a task looks at each, and equal ones share an object.
    whole = {column: joined([columns.values[column] for columns in read]) for column in asked}
    sizes = [len(columns.values[text_column]) for columns in read]
    pairs = None if text_pair_column is None else PairColumns(text_column, text_pair_column, whole[text_pair_column])
    return labelled_split(
        name or str(paths[0]),
        whole[text_column],
        values_of(whole[names[0]]) if len(names) == 1 else side_by_side([whole[column] for column in names]),
        _row_names(paths, sizes),
        label_names,
        pairs,
        tuple(names) if len(names) > 1 else (),
    )


def side_by_side(columns: "Sequence[Sequence[object] | pa.ChunkedArray]") -> list[object]:
    """Returns the values of several columns as a tuple for each row.

    Args:
        columns: The columns.
    """
    return list(zip(*map(values_of, columns), strict=True))


def _asked(text_column: str, text_pair_column: str | None) -> dict[str, str]:
    return {text_column: "text_column"} | ({} if text_pair_column is None else {text_pair_column: "text_pair_column"})


def read_texts(path: Path, text_column: str, quoting: Quoting = "auto", text_pair_column: str | None = None) -> Texts:
    """Reads the texts to predict on.

    Args:
        path: A table as in ``read_table``, whose labels are ignored, or a .txt file with one text per line.
        text_column: Name of the column of texts in a table.
        quoting: Whether a quotation mark at the start of a CSV's or TSV's field encloses the field.
        text_pair_column: Name of the column of second texts; None for single texts.

    Returns:
        The texts, or pairs: the i-th is the i-th row or line of the file.

    Raises:
        UserError: If the file cannot be read, lacks the column, has no rows, or has a row without text.
    """
    suffix = table_suffix(path) or next((end for end in (".txt", ".txt.gz") if path.name.lower().endswith(end)), None)
    texts: Sequence[object] | pa.ChunkedArray | None = None
    pairs = None
    if suffix not in (None, ".parquet") and text_pair_column is None:
        texts = read_large_texts(path, str(suffix).removesuffix(".gz"), text_column, quoting)
    if table_suffix(path) is not None:
        if texts is None:
            columns = read_columns(path, _asked(text_column, text_pair_column), quoting).values
            texts = columns[text_column]
            if text_pair_column is not None:
                pairs = PairColumns(text_column, text_pair_column, columns[text_pair_column])
        row_name = numbered_rows(str(path))
    elif text_pair_column is not None:
        raise UserError(
            f"{path} is no table, and pairs of texts are asked for: write one ({', '.join(TABLE_SUFFIXES)}) with the"
            f" columns {text_column!r} and {text_pair_column!r}, or leave out ",
            Setting("data.text_pair_column"),
        )
    elif suffix is not None:
        texts = read_lines(path) if texts is None else texts

        def row_name(position: int) -> str:
            return f"line {position + 1} of {path}"
    else:
        raise UserError(
            f"{path} has no known format: use one of {', '.join(TABLE_SUFFIXES)} or .txt with one text a line"
        )
    if len(texts) == 0:
        raise UserError(f"{path} has no rows: there is nothing to predict")
    return checked_pairs(texts, pairs, row_name)


def _row_names(paths: Sequence[Path], sizes: Sequence[int]) -> Callable[[int], str]:
    def row_name(position: int) -> str:
        shard = 0
        while position >= sizes[shard] and shard + 1 < len(sizes):
            position -= sizes[shard]
            shard += 1
        return f"row {position + 1} of {paths[shard]}"

    return row_name
