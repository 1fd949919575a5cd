"""A recogniser of a NeMo CTC model that decodes with a graph.

sherpa-onnx takes a graph with every kind of CTC model; of its constructors in Python, only
`from_zipformer2_ctc` passes one on (2.0.1, online_recognizer.py), so the others' way is gone here.
"""

from typing import Any

import sherpa_onnx
from sherpa_onnx import online_recognizer as parts

RATE_HZ = 16_000
FEATURES = 80


def nemo_ctc_with_graph(
    *,
    model: str,
    tokens: str,
    graph: str,
    max_active: int,
    num_threads: int = 1,
    provider: str = "cpu",
    device: int = 0,
    enable_endpoint_detection: bool = False,
) -> Any:
    """As `OnlineRecognizer.from_nemo_ctc`.

    Args:
        graph: Path of HLG.fst.
        max_active: Paths through it that are kept at each row.
    """
    on = parts.ProviderConfig(provider=provider, device=device)
    config = parts.OnlineRecognizerConfig(
        feat_config=parts.FeatureExtractorConfig(sampling_rate=RATE_HZ, feature_dim=FEATURES),
        model_config=parts.OnlineModelConfig(
            nemo_ctc=parts.OnlineNeMoCtcModelConfig(model=model),
            tokens=tokens,
            num_threads=num_threads,
            provider_config=on,
        ),
        ctc_fst_decoder_config=parts.OnlineCtcFstDecoderConfig(graph=graph, max_active=max_active),
        enable_endpoint=enable_endpoint_detection,
        decoding_method="greedy_search",
    )
    recognizer = sherpa_onnx.OnlineRecognizer.__new__(sherpa_onnx.OnlineRecognizer)
    recognizer.recognizer = parts._Recognizer(config)
    recognizer.config = config
    return recognizer
