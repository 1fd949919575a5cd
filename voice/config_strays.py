"""Variables that were probably meant for Kaiwa and are none of its settings: LLM_ENDPONT.

    begins like ours   KAIWA_, LLM_, …; of a long beginning a misspelt one, too
    told               what resembles one of ours; whatever else begins with KAIWA_
    not told           what has its own meaning: TTS_HOME, LLM_USER_PATH, AGENT_VERSION …

Machines are full of variables of others, so a beginning alone accuses nobody but KAIWA_.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches

DEPLOYMENT = frozenset(
    """
    KAIWA_USER KAIWA_WORKERS TURN_IMAGE TURN_EXTERNAL_IP TURN_ALLOWED_PEER TURN_REALM
    LLM_IMAGE LLM_GPU_COUNT LLM_TP_SIZE LLM_GPU_MEMORY LLM_MAX_MODEL_LEN LLM_ARGS LLM_PLATFORM
    STT_BACKEND STT_CUDA_VERSION STT_IMAGE STT_COMMAND STT_GPU STT_ENCODER STT_DECODER STT_JOINER
    STT_TOKENS STT_THREADS STT_PLATFORM
    TTS_BACKEND TTS_IMAGE TTS_COMMAND TTS_GPU TTS_COMPILE TTS_PLATFORM
    EMBEDDING_IMAGE EMBEDDING_CPU_IMAGE EMBEDDING_PORT EMBEDDING_GPU EMBEDDING_PLATFORM
    """.split()
)
"""What docker compose reads of .env, and Kaiwa does not."""
BENCH_KEY = "KAIWA_API_KEY"
"""What `kaiwa bench` sends: one letter less than the server's own."""
RESEMBLES = 0.7
"""difflib's ratio: one sign too many, too few or swapped leaves all of our names above 0.7 but GPU
swapped; LLM_API_BASE is at 0.67 of LLM_API_KEY."""
SURELY = 0.8
"""MODEL_NAME is at 0.7 of MODEL_PATH by the word they share, MODEL_PAHT at 0.9."""
LONG_ENOUGH = 5
"""Letters of a beginning that may be misspelt. LLAMA_API_KEY and VLLM_API_KEY are others'."""
LINKED = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT(_\d+_(TCP|UDP)\w*)?$|_ENV_\w+$")
"""What Kubernetes and docker's links say of a service that is called `llm` or `stt`."""


def strays(environment: Mapping[str, str], settings: Collection[str]) -> tuple[str, ...]:
    """What to tell the operator, a line for each variable.

    Args:
        settings: The names that are read.
    """
    return tuple(_told(environment, settings))


def _told(environment: Mapping[str, str], settings: Collection[str]) -> Iterator[str]:
    known = {*settings, *DEPLOYMENT}
    given = {name for name, value in environment.items() if value}
    for name in sorted(given - known):
        if name == BENCH_KEY:
            if "KAIWA_API_KEYS" not in given:
                yield (f"{name} is only what `kaiwa bench` sends; callers' keys are KAIWA_API_KEYS")
        elif meant := _meant(name, known, settings, given):
            yield f"{name} is not a setting; did you mean {meant}?"
        elif name.startswith("KAIWA_") and not LINKED.search(name):
            yield f"{name} is not a setting; .env.default lists them all"


def _meant(
    name: str, known: Collection[str], settings: Collection[str], given: Collection[str]
) -> str:
    """The variable of ours that was probably meant; empty: it is somebody else's."""
    if name.upper() in known:
        return name.upper() if name.upper() not in given else ""
    beginning, _, rest = name.partition("_")
    families = {one.partition("_")[0] for one in known}
    if beginning not in families:
        return _misspelt_beginning(beginning, rest, families, known)
    if LINKED.search(name):
        return ""
    family = {
        one.partition("_")[2]: one for one in sorted(known) if one.startswith(f"{beginning}_")
    }
    words = set(rest.split("_"))
    close = get_close_matches(rest, family, n=1, cutoff=RESEMBLES)
    shorter = [one for one in family if rest.startswith(f"{one}_") and family[one] in settings]
    if shorter and not get_close_matches(rest, close, cutoff=SURELY):  # LLM_MODEL_NAME
        nearest = family[max(shorter, key=len)]
        return nearest if nearest not in given else ""
    if close:
        return family[close[0]]
    for other, one in family.items():
        theirs = set(other.split("_"))
        is_like = words < theirs or theirs < words or (len(rest) > 3 and other.startswith(rest))
        if is_like and one in settings and one not in given:
            return one
    return ""


def _misspelt_beginning(
    beginning: str, rest: str, families: Collection[str], known: Collection[str]
) -> str:
    long = [one for one in families if len(one) >= LONG_ENOUGH and one[0] == beginning[:1]]
    close = get_close_matches(beginning, long, n=1, cutoff=RESEMBLES)
    meant = f"{close[0]}_{rest}" if close else ""
    return meant if meant in known else ""
