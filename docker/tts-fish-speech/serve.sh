#!/bin/bash
# Starts Fish Speech's API server with the model that is mounted on /models: the folder itself, or
# the one folder in it that holds codec.pth. More options of the server may follow.
#
#   TTS_BACKEND   cuda or cpu
#   TTS_API_KEY   asked of callers, if set; Kaiwa sends it
#   TTS_COMPILE   1: compile the model at the start, which takes minutes and is faster from then on
set -euo pipefail

models=${TTS_MODELS:-/models}
port=${TTS_PORT:-8080}

found=()
for folder in "$models" "$models"/*/; do
    [[ -f "$folder/codec.pth" ]] && found+=("${folder%/}")
done
if ((${#found[@]} != 1)); then
    echo "tts: $models holds ${#found[@]} models (folders with codec.pth), needed is one." \
        "It is mounted from TTS_MODEL_DIR, by default ./models/tts: put openaudio-s1-mini there" >&2
    exit 1
fi

options=(
    --listen "0.0.0.0:$port"
    --llama-checkpoint-path "${found[0]}"
    --decoder-checkpoint-path "${found[0]}/codec.pth"
    --decoder-config-name modded_dac_vq
)
if [[ "${TTS_BACKEND:-cuda}" == cpu ]]; then
    options+=(--device cpu)
else
    # The server itself would go on without one, on the CPU, some hundred times slower than speech.
    python3 -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
        echo "tts: there is no GPU that CUDA can use; set TTS_BACKEND=cpu in .env and build the" \
            "image again, or see what nvidia-smi says" >&2
        exit 1
    }
fi
[[ -n "${TTS_API_KEY:-}" ]] && options+=(--api-key "$TTS_API_KEY")
[[ "${TTS_COMPILE:-}" == 1 ]] && options+=(--compile)

server=$(python3 -c 'import importlib.util as u; print(u.find_spec("tools.api_server").origin)')
exec python3 "$server" "${options[@]}" "$@"
