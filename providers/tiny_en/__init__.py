"""The project's own tiny streaming English model, for tests and a first run, and its recipe."""

from pathlib import Path

FOLDER = Path(__file__).parent
"""Holds `model.int8.onnx` and `tokens.txt`, as `OnlineRecognizer.from_nemo_ctc` takes them, and the
graph to decode with, `HLG.fst`."""
