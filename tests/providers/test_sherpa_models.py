"""What lies in a model's folder is found out before the library, which exits, is asked."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from providers._onnx_metadata import read_metadata
from providers._sherpa_models import Kind, ModelError, find_model
from providers._sherpa_symbols import read_symbols
from providers.tiny_en import FOLDER
from tests.providers import tiny_models
from tests.providers.tiny_graph import write_graph


@pytest.mark.parametrize("kind", list(tiny_models.MAKERS))
def test_each_kind_is_told_from_names_and_metadata(tmp_path: Path, kind: str) -> None:
    tiny_models.MAKERS[kind](tmp_path)
    model = find_model(tmp_path)
    assert model.kind is Kind(kind)
    assert model.is_upper
    assert set(model.files) == {
        "transducer": {"encoder", "decoder", "joiner"},
        "paraformer": {"encoder", "decoder"},
    }.get(kind, {"model"})


@pytest.mark.parametrize(
    ("kind", "window_ms", "shift_ms"),
    [
        ("nemo_ctc", 240, 160),
        ("transducer", 200, 160),
        ("zipformer2_ctc", 450, 320),
        ("t_one_ctc", 300, 300),
        ("wenet_ctc", (3 * 4 + 6 + 1) * 10, 160),
        ("paraformer", 610, 600),
    ],
)
def test_the_tail_reaches_past_one_window_and_a_step(
    tmp_path: Path, kind: str, window_ms: int, shift_ms: int
) -> None:
    tiny_models.MAKERS[kind](tmp_path)
    model = find_model(tmp_path)
    assert (model.window_ms, model.shift_ms) == (window_ms, shift_ms)
    assert model.tail_ms > window_ms + shift_ms


def test_an_unpacked_archive_one_folder_down_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "sherpa-onnx-streaming-tiny"
    folder.mkdir()
    tiny_models.nemo_ctc(folder)
    assert find_model(tmp_path).name == folder.name


def test_two_archives_are_an_error_that_names_both(tmp_path: Path) -> None:
    for name in ("english", "japanese"):
        (tmp_path / name).mkdir()
        tiny_models.nemo_ctc(tmp_path / name)
    with pytest.raises(ModelError, match=r"several models: english, japanese; name the folder"):
        find_model(tmp_path)


def test_int8_is_taken_on_a_cpu_and_full_precision_on_a_gpu_but_never_for_the_decoder(
    tmp_path: Path,
) -> None:
    tiny_models.transducer(tmp_path)
    for part in ("encoder", "decoder", "joiner"):
        shutil.copy(tmp_path / f"{part}.onnx", tmp_path / f"{part}.int8.onnx")

    def names(prefers_int8: bool) -> list[str]:
        files = find_model(tmp_path, prefers_int8=prefers_int8).files
        return [Path(files[part]).name for part in ("encoder", "decoder", "joiner")]

    assert names(True) == ["encoder.int8.onnx", "decoder.onnx", "joiner.int8.onnx"]
    assert names(False) == ["encoder.onnx", "decoder.onnx", "joiner.onnx"]


def test_wenets_streaming_model_is_taken_where_the_other_lies_beside_it(tmp_path: Path) -> None:
    tiny_models.wenet_ctc(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"not streaming")
    assert Path(find_model(tmp_path).files["model"]).name == "model-streaming.onnx"


def nothing(folder: Path) -> None:
    pass


def no_tokens(folder: Path) -> None:
    tiny_models.nemo_ctc(folder)
    (folder / "tokens.txt").unlink()


def two_chunk_sizes(folder: Path) -> None:
    tiny_models.transducer(folder)
    for chunk in (16, 32):
        shutil.copy(folder / "encoder.onnx", folder / f"encoder-chunk-{chunk}.onnx")
    (folder / "encoder.onnx").unlink()


def no_decoder(folder: Path) -> None:
    tiny_models.transducer(folder)
    (folder / "decoder.onnx").unlink()


def not_streaming(folder: Path) -> None:
    graph = tiny_models.Graph(0)
    graph.output(graph.input("x", tiny_models.FLOAT, ["N"]), "y", tiny_models.FLOAT, ["N"])
    graph.save(folder / "model.int8.onnx", {"model_type": "sense_voice_ctc", "lfr_window_size": 7})
    tiny_models.write_tokens(folder, blank_last=False)


def cut_short(folder: Path) -> None:
    tiny_models.nemo_ctc(folder)
    path = folder / "model.onnx"
    path.write_bytes(path.read_bytes()[:5000])


def lfs_pointer(folder: Path) -> None:
    tiny_models.nemo_ctc(folder)
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 71083163\n"
    (folder / "model.onnx").write_text(text)


def error_page(folder: Path) -> None:
    tiny_models.nemo_ctc(folder)
    (folder / "model.onnx").write_text("<!DOCTYPE html><html><body>404</body></html>")


def empty_file(folder: Path) -> None:
    tiny_models.nemo_ctc(folder)
    (folder / "model.onnx").write_bytes(b"")


def wrong_tokens(folder: Path) -> None:
    tiny_models.nemo_ctc(folder)
    (folder / "tokens.txt").write_text("<blk> 0\nA one\n")


def bad_number(folder: Path) -> None:
    graph = tiny_models.Graph(0)
    graph.output(graph.input("x", tiny_models.FLOAT, ["N"]), "y", tiny_models.FLOAT, ["N"])
    dims = {"cache_last_channel_dim1": 1, "window_size": "large", "chunk_shift": 8}
    graph.save(folder / "model.onnx", dims)
    tiny_models.write_tokens(folder, blank_last=True)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (nothing, r"holds nothing; a streaming sherpa-onnx model is needed"),
        (no_tokens, r"holds model.onnx; tokens.txt is needed beside the model"),
        (two_chunk_sizes, r"more than one encoder: encoder-chunk-16.onnx, encoder-chunk-32.onnx"),
        (no_decoder, r"holds encoder.onnx, joiner.onnx, tokens.txt; needed are encoder, decoder"),
        (not_streaming, r"its metadata are lfr_window_size, model_type; needed .* 'streaming'"),
        (cut_short, r"model.onnx is cut short \(5000 bytes\); download it again"),
        (lfs_pointer, r"model.onnx is no ONNX file .* Git LFS pointer"),
        (error_page, r"model.onnx is no ONNX file .* error page"),
        (empty_file, r"model.onnx is no ONNX file \(0 bytes\)"),
        (wrong_tokens, r"tokens.txt, line 2: expected 'SYMBOL NUMBER', got 'A one'"),
        (bad_number, r"window_size is 'large', not a number"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_is_needed(
    tmp_path: Path, make: Callable[[Path], None], says: str
) -> None:
    make(tmp_path)
    with pytest.raises(ModelError, match=says) as caught:
        find_model(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"absent is no folder; put a streaming"):
        find_model(tmp_path / "absent")


def test_metadata_are_read_as_they_were_written(tmp_path: Path) -> None:
    graph = tiny_models.Graph(0)
    graph.output(graph.input("x", tiny_models.FLOAT, ["N"]), "y", tiny_models.FLOAT, ["N"])
    written = {"comment": "日本語 " * 100, "empty": "", "window_size": "45"}
    graph.save(tmp_path / "model.onnx", written)
    assert read_metadata(tmp_path / "model.onnx") == written


def test_a_space_may_be_a_symbol(tmp_path: Path) -> None:
    path = tmp_path / "tokens.txt"
    path.write_text("<blk> 0\n  1\r\na 2\n\n")
    assert read_symbols(path) == ["<blk>", " ", "a"]


@pytest.mark.parametrize(
    ("symbols", "unit", "is_upper"),
    [
        (("<blk>", "<unk>", "▁THE", "S"), "bpe", True),
        (("<blk>", "▁the", "s"), "bpe", False),
        (("<blk>", "▁The", "s"), "bpe", False),
        (("<blk>", "中", "▁THE"), "cjkchar+bpe", True),
        (("<blk>", "中", "国"), "cjkchar", False),
        (("<blk>", "a", "b", "▁"), "cjkchar", False),
    ],
)
def test_units_and_capitals_are_told_from_the_symbols(
    tmp_path: Path, symbols: tuple[str, ...], unit: str, is_upper: bool
) -> None:
    tiny_models.transducer(tmp_path, words=symbols)
    model = find_model(tmp_path)
    assert (model.modeling_unit, model.is_upper) == (unit, is_upper)


@pytest.mark.parametrize("kind", list(tiny_models.MAKERS))
def test_a_graph_beside_the_model_is_taken_by_the_kinds_that_can_use_it(
    tmp_path: Path, kind: str
) -> None:
    tiny_models.MAKERS[kind](tmp_path)
    assert find_model(tmp_path).graph == ""
    write_graph(tmp_path / "HLG.fst", [0, 1])
    takes = kind in ("nemo_ctc", "zipformer2_ctc")
    assert find_model(tmp_path).graph == (str(tmp_path / "HLG.fst") if takes else "")


def test_more_paths_are_kept_of_a_large_graph_than_of_a_small_one(tmp_path: Path) -> None:
    tiny_models.nemo_ctc(tmp_path)
    write_graph(tmp_path / "HLG.fst", [0, 1])
    assert find_model(tmp_path).max_active == 100
    write_graph(tmp_path / "HLG.fst", [0, 1] * 100_000)
    assert find_model(tmp_path).max_active == 3000


def test_a_graph_that_is_none_is_named_with_the_way_out(tmp_path: Path) -> None:
    tiny_models.nemo_ctc(tmp_path)
    (tmp_path / "HLG.fst").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelError, match=r"HLG.fst is no graph of OpenFst; .* take it away"):
        find_model(tmp_path)


@pytest.mark.parametrize("kept", [60, 100, 2000, 150_000, -1])
def test_a_graph_that_is_cut_off_is_named_with_the_way_out(tmp_path: Path, kept: int) -> None:
    for name in ("model.int8.onnx", "tokens.txt"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    (tmp_path / "HLG.fst").write_bytes((FOLDER / "HLG.fst").read_bytes()[:kept])
    with pytest.raises(ModelError, match=r"HLG.fst is cut off or damaged .* --force tiny-en\), or"):
        find_model(tmp_path)


def test_half_of_the_symbols_is_named_with_the_way_to_the_rest(tmp_path: Path) -> None:
    (tmp_path / "model.int8.onnx").write_bytes((FOLDER / "model.int8.onnx").read_bytes())
    lines = (FOLDER / "tokens.txt").read_text("utf-8").splitlines()
    (tmp_path / "tokens.txt").write_text("\n".join(lines[: len(lines) // 2]), "utf-8")
    with pytest.raises(ModelError, match=r"tokens.txt has 128 symbols.* cut off.*pull --force"):
        find_model(tmp_path)
