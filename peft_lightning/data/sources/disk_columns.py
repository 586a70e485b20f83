"""Columns on the disk: what a large file is decoded to lies in an unnamed temporary file, not in memory."""

import mmap
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import IO, TYPE_CHECKING

from peft_lightning.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

# Less than this stays in memory: bytes of decoded columns.
_IN_MEMORY = 1 << 24
# Which addresses a file is mapped to. A column of several files has chunks in several mappings.
_mappings: "weakref.WeakKeyDictionary[mmap.mmap, range]" = weakref.WeakKeyDictionary()


def on_disk(schema: "pa.Schema", batches: Iterable["pa.RecordBatch"]) -> "pa.Table":
    """Makes a table of batches; a large one lies in the folder for temporary files, which ``TMPDIR`` names.

    The file has no name: it is gone with the table, however the process ends.

    Args:
        schema: The columns.
        batches: The rows, which are asked for one after the other.
    """
    import pyarrow as pa

    schema = pa.schema([_decoded(field) for field in schema], schema.metadata)
    cast = (batch.cast(schema) for batch in batches)
    held: list[pa.RecordBatch] = []
    size = 0
    for batch in cast:
        held.append(batch)
        size += batch.nbytes
        if size > _IN_MEMORY:
            return _mapped(schema, _handed_over(held, cast))
    return pa.Table.from_batches(held, schema)


def _decoded(field: "pa.Field") -> "pa.Field":
    """Returns a column of values in the place of one of numbers for them, which batches may number differently."""
    import pyarrow as pa

    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field


def _handed_over(held: "list[pa.RecordBatch]", rest: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    while held:
        yield held.pop(0)
    yield from rest


def _mapped(schema: "pa.Schema", batches: "Iterator[pa.RecordBatch]") -> "pa.Table":
    import pyarrow as pa

    with _unnamed_file() as file:
        writer = pa.ipc.new_file(file, schema)
        for batch in batches:
            with _writing():
                writer.write_batch(batch)
        with _writing():
            writer.close()
            file.flush()
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    buffer = pa.py_buffer(mapping)
    _mappings[mapping] = range(buffer.address, buffer.address + buffer.size)
    # Arrow keeps freed memory for itself otherwise.
    pa.default_memory_pool().release_unused()
    return pa.ipc.open_file(buffer).read_all()


def _unnamed_file() -> IO[bytes]:
    with _writing():
        return tempfile.TemporaryFile(prefix="peft_lightning.")


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot keep the rows of a large file in {tempfile.gettempdir()} ({error.strerror or error}): make room"
            " there, or name another folder in the environment with TMPDIR"
        ) from error


def let_go(chunks: Iterable["pa.Array"]) -> None:
    """Takes what was read of columns on the disk out of this process's memory; it is read anew when it is used.

    Args:
        chunks: Chunks of columns; those that lie in memory stay there.
    """
    addresses = [buffer.address for buffer in chain.from_iterable(chunk.buffers() for chunk in chunks) if buffer]
    for mapping, place in list(_mappings.items()):
        if any(address in place for address in addresses):
            mapping.madvise(mmap.MADV_DONTNEED)
