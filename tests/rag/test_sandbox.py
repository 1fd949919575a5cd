import asyncio
import io
import os
import random
from pathlib import Path

import docx
import pytest

from rag.read_text import Unreadable
from rag.sandbox import Sandbox


def test_one_child_reads_many_files() -> None:
    async def scenario() -> None:
        async with Sandbox() as sandbox:
            assert (await sandbox.read(".md", b"# One\n\nText.")).title == "One"
            child = sandbox._child
            with pytest.raises(Unreadable, match="not a PDF"):
                await sandbox.read(".pdf", b"nonsense")
            assert (await sandbox.read(".txt", b"Two.")).text == "Two."
            assert sandbox._child is child

    asyncio.run(scenario())


def test_a_file_past_its_time_is_refused_and_the_next_is_read() -> None:
    async def scenario() -> None:
        async with Sandbox(clock_seconds=0.001) as hurried:
            with pytest.raises(Unreadable, match="longer than 0.001 s"):
                await hurried.read(".txt", b"Too slow.")
            hurried._clock_seconds = 25
            assert (await hurried.read(".txt", b"Next.")).text == "Next."

    asyncio.run(scenario())


def test_a_file_that_needs_too_much_memory_is_refused_alone() -> None:
    async def scenario() -> None:
        async with Sandbox(memory_bytes=400 << 20) as sandbox:
            with pytest.raises(Unreadable, match="memory|could not be read"):
                await sandbox.read(".html", b"<p>x" * 2_400_000)
            assert (await sandbox.read(".txt", b"Next.")).text == "Next."

    asyncio.run(scenario())


def test_no_child_is_left_behind() -> None:
    async def scenario() -> int:
        async with Sandbox() as sandbox:
            await sandbox.read(".txt", b"Text.")
            assert sandbox._child
            return sandbox._child.pid

    pid = asyncio.run(scenario())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def _mutants(whole: bytes, count: int, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    mutants = []
    for _ in range(count):
        damaged = bytearray(whole)
        for _ in range(rng.randint(1, 12)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        start = rng.randrange(len(damaged))
        cut = damaged[:start] if rng.random() < 0.3 else damaged
        mutants.append(bytes(cut + damaged[start : start + 40] * rng.randint(0, 30)))
    return mutants


def test_damaged_files_are_read_or_refused_and_nothing_else() -> None:
    buffer = io.BytesIO()
    document = docx.Document()
    document.add_heading("Hours", 1)
    document.add_paragraph("We open at nine.")
    document.save(buffer)
    samples = Path(__file__).parents[2] / "rag" / "samples"
    originals = {
        ".docx": buffer.getvalue(),
        ".pdf": (Path(__file__).parent / "files" / "hours.pdf").read_bytes(),
        ".html": (samples / "getting-here.html").read_bytes(),
        ".md": (samples / "membership.md").read_bytes(),
        ".txt": (samples / "parking.txt").read_bytes(),
    }

    async def scenario() -> None:
        async with Sandbox() as sandbox:
            for seed, (suffix, whole) in enumerate(originals.items()):
                outcomes = []
                for mutant in _mutants(whole, 40, seed):
                    try:
                        outcomes.append((await sandbox.read(suffix, mutant)).text)
                    except Unreadable as refusal:
                        outcomes.append(f"refused: {refusal}")
                assert all(outcomes)
            assert (await sandbox.read(".txt", b"Still there.")).text == "Still there."

    asyncio.run(scenario())
