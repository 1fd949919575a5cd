"""The network: frames four by four, three LSTM layers, one row of pieces every 40 ms.

    [b, t, 80] ─▶ scaled, stacked [b, t/4, 320] ─▶ LSTM 384 × 3 ─▶ log-probabilities [b, t/4, 257]

Gates lie in ONNX's order: input, output, forget, cell.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from providers.tiny_en.features import BINS
from providers.tiny_en.lstm import lstm_layer

STACK = 4
LAYERS = 3
CELLS = 384

Weights = dict[str, Any]
"""`mean`, `deviation` [80]; `in0`, `again0`, `bias0`, ... of each layer; `out`, `out_bias`."""


def initial(mean: NDArray[Any], deviation: NDArray[Any], outputs: int) -> Weights:
    rng = np.random.default_rng(3)

    def drawn(*shape: int) -> NDArray[np.float32]:
        return np.asarray(rng.standard_normal(shape) / np.sqrt(shape[0]), np.float32)

    weights: Weights = {"mean": mean, "deviation": deviation}
    for layer in range(LAYERS):
        weights[f"in{layer}"] = drawn(CELLS if layer else STACK * BINS, 4 * CELLS)
        weights[f"again{layer}"] = drawn(CELLS, 4 * CELLS)
        bias = np.zeros(4 * CELLS, np.float32)
        bias[2 * CELLS : 3 * CELLS] = 1  # remember at first
        weights[f"bias{layer}"] = bias
    weights["out"] = drawn(CELLS, outputs)
    weights["out_bias"] = np.zeros(outputs, np.float32)
    return weights


def forward(weights: Weights, x: Any) -> Any:
    """[b, t, 80] to logits [t / 4, b, outputs]."""
    lstm = lstm_layer()
    x = (x - weights["mean"]) / weights["deviation"]
    x = x.reshape(x.shape[0], x.shape[1] // STACK, STACK * BINS).transpose(1, 0, 2)
    for layer in range(LAYERS):
        x = lstm(x, weights[f"in{layer}"], weights[f"again{layer}"], weights[f"bias{layer}"])
    return x @ weights["out"] + weights["out_bias"]


def loss(weights: Weights, x: Any, lengths: Any, labels: Any, blank: int) -> Any:
    """Mean CTC loss per piece. `lengths`: [b] frames; `labels`: [b, l], -1 where there is none."""
    import jax.numpy as jnp
    import optax

    logits = forward(weights, x).transpose(1, 0, 2)
    steps = jnp.arange(logits.shape[1])[None] >= (lengths // STACK)[:, None]
    absent = labels < 0
    losses = optax.ctc_loss(
        logits,
        steps.astype(jnp.float32),
        jnp.where(absent, 0, labels),
        absent.astype(jnp.float32),
        blank_id=blank,
    )
    return losses.sum() / jnp.maximum(1, (~absent).sum())
