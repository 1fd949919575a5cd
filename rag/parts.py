"""What the files of an index hold, as bytes and back: texts, words and vectors."""

import io
import time
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from rag.lexical import LexicalIndex, Postings

_GPU_SCRATCH_BYTES = 64 << 20
"""FAISS would take 1.5 GB for itself."""
_AT_A_TIME = 64
"""Structs decoded before other threads may run: 0.1 ms."""

S = TypeVar("S", bound=msgspec.Struct)


def structs_from(data: bytes, kind: type[S]) -> tuple[S, ...]:
    """Takes 1.5 times as long as at once, and lets the event loop run meanwhile.

    Raises:
        msgspec.MsgspecError: They are none.
    """
    decode = msgspec.msgpack.Decoder(kind).decode
    found = []
    for place, raw in enumerate(msgspec.msgpack.decode(data, type=list[msgspec.Raw])):
        found.append(decode(raw))
        if place % _AT_A_TIME == 0:
            time.sleep(0)  # gives the interpreter to whoever waits for it
    return tuple(found)


def structs_bytes(structs: Sequence[msgspec.Struct]) -> bytes:
    return msgspec.msgpack.encode(structs)


def drop(structs: list[msgspec.Struct]) -> None:
    """Empties the list, and lets the event loop run meanwhile."""
    while structs:
        del structs[-_AT_A_TIME:]
        time.sleep(0)


def lexical_from(data: bytes) -> LexicalIndex:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:

        def postings(name: str) -> Postings:
            return Postings(*(arrays[f"{name}.{part}"] for part in ("keys", "offsets", "ids")))

        return LexicalIndex(
            size=int(arrays["size"]),
            words=postings("words"),
            weights=arrays["weights"],
            spellings=postings("spellings"),
            sounds=postings("sounds"),
            gram_counts=arrays["gram_counts"],
        )


def lexical_bytes(lexical: LexicalIndex) -> bytes:
    arrays: dict[str, NDArray[Any]] = {
        "size": np.array(lexical.size),
        "weights": lexical.weights,
        "gram_counts": lexical.gram_counts,
    }
    for name in ("words", "spellings", "sounds"):
        postings: Postings = getattr(lexical, name)
        arrays |= {
            f"{name}.keys": postings.keys,
            f"{name}.offsets": postings.offsets,
            f"{name}.ids": postings.ids,
        }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # its stub takes the names for options
    return buffer.getvalue()


def vectors_from(data: bytes) -> Any:
    import faiss  # 0.25 s: on first use, in the thread that needs it

    faiss.set_deserialization_vector_byte_limit(2 * len(data))
    return faiss.deserialize_index(np.frombuffer(data, np.uint8))


def vectors_bytes(rows: NDArray[np.float32]) -> bytes:
    import faiss

    # Flat: exact, nothing to train, rows can be taken over into the next version. 100,000 rows of
    # 384 take 6 ms a search; an approximate index pays off beyond that.
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(np.ascontiguousarray(rows, np.float32))
    return bytes(faiss.serialize_index(index))


def pick_device(faiss: Any) -> Literal["cpu", "gpu"]:
    """Where this build of the module `faiss` can search: faiss-cpu knows of no GPU at all."""
    has_gpus = hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0
    return "gpu" if has_gpus else "cpu"


def copy_on_gpu(vectors: Any) -> Any:
    """A faiss.Index on the GPU, if faiss-gpu is installed and sees one with room for it, else None.

    The index is flat on both sides, and scores are computed from the rows here: the same answers.
    Blocking.
    """
    import faiss

    if pick_device(faiss) == "cpu":
        return None
    try:
        resources = faiss.StandardGpuResources()
        resources.setTempMemory(_GPU_SCRATCH_BYTES)
        return faiss.index_cpu_to_gpu(resources, 0, vectors)
    except RuntimeError:  # its memory is full of models: the CPU finds the same
        return None
