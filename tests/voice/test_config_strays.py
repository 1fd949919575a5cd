"""Misspelt variables are told, those of others are not."""

from pathlib import Path

import pytest

from voice.config import ENVIRONMENT, load
from voice.config_strays import DEPLOYMENT, strays

ROOT = Path(__file__).parents[2]


def told(*names: str, **values: str) -> tuple[str, ...]:
    return strays({**dict.fromkeys(names, "x"), **values}, ENVIRONMENT)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("LLM_ENDPONT", "LLM_ENDPOINT"),
        ("LLM_ENDOPINT", "LLM_ENDPOINT"),
        ("LLM_ENDPOINTS", "LLM_ENDPOINT"),
        ("LLM_ENDPOINT_URL", "LLM_ENDPOINT"),
        ("LLM_MODEL_NAME", "LLM_MODEL"),
        ("LLM_MODEL_PAHT", "LLM_MODEL_PATH"),
        ("TTS_MODEL_DRI", "TTS_MODEL_DIR"),
        ("EMBEDDING_MODEL_ID", "EMBEDDING_MODEL"),
        ("LLM_KEY", "LLM_API_KEY"),
        ("LLM_APIKEY", "LLM_API_KEY"),
        ("LLM_TEMPRATURE", "LLM_TEMPERATURE"),
        ("STT_MODEL", "STT_MODEL_DIR"),
        ("STT_LANG", "STT_LANGUAGE"),
        ("TTS_VIOCE", "TTS_VOICE"),
        ("TTS_ENDPOINTS", "TTS_ENDPOINT"),
        ("TTS_COMPLIE", "TTS_COMPILE"),
        ("EMBEDING_MODEL", "EMBEDDING_MODEL"),
        ("EMBEDDER_ENDPOINT", "EMBEDDING_ENDPOINT"),
        ("RERANK_ENDPOINT", "RERANKER_ENDPOINT"),
        ("RAG_INDEX", "RAG_INDEX_PATH"),
        ("KAIWA_PROT", "KAIWA_PORT"),
        ("KAWIA_PORT", "KAIWA_PORT"),
        ("KAIWA_KEYS", "KAIWA_API_KEYS"),
        ("KAIWA_ORIGINS", "KAIWA_ALLOWED_ORIGINS"),
        ("LOG_LEVL", "LOG_LEVEL"),
        ("AGENT_PROMT", "AGENT_PROMPT"),
        ("llm_endpoint", "LLM_ENDPOINT"),
    ],
)
def test_what_resembles_a_variable_of_ours_is_told_with_the_right_one(
    name: str, meant: str
) -> None:
    assert told(name) == (f"{name} is not a setting; did you mean {meant}?",)


@pytest.mark.parametrize("known", [*ENVIRONMENT, *sorted(DEPLOYMENT)])
def test_every_variable_is_known_and_one_letter_too_few_or_too_many_is_told(known: str) -> None:
    assert told(known, KAIWA_API_KEYS="x") == ()
    swapped = f"{known[:-2]}{known[-1]}{known[-2]}"
    for wrong in (known[:-1], f"{known}S", *([] if known.endswith("_GPU") else [swapped])):
        if wrong != known and wrong not in (*ENVIRONMENT, *DEPLOYMENT, "KAIWA_API_KEY"):
            (one,) = told(wrong)
            assert one.startswith(f"{wrong} is not a setting; did you mean ")


def test_whatever_else_begins_with_our_name_is_told_too() -> None:
    assert told("KAIWA_FOO") == ("KAIWA_FOO is not a setting; .env.default lists them all",)


def test_several_are_told_in_order_and_an_empty_one_is_not_set() -> None:
    found = told("TTS_VIOCE", "KAIWA_PROT", LLM_ENDPONT="")
    assert [one.partition(" ")[0] for one in found] == ["KAIWA_PROT", "TTS_VIOCE"]


OF_OTHERS = """
    PATH HOME LANG LC_ALL TERM SHELL USER PWD EDITOR DISPLAY XDG_RUNTIME_DIR LLM_API_BASE
    CI GITHUB_ACTIONS GITLAB_CI AGENT_ID AGENT_NAME AGENT_VERSION AGENT_OS AGENT_WORKFOLDER
    AGENT_TOOLSDIRECTORY SSH_AGENT_PID SSH_AUTH_SOCK GPG_AGENT_INFO NODE_NAME JENKINS_AGENT_NAME
    VIRTUAL_ENV PYTHONPATH PYTHON_VERSION PYTHON_SHA256 GPG_KEY PIP_INDEX_URL UV_CACHE_DIR
    LOGNAME LOG_DIR LOG_FILE LOG_FORMAT LOGLEVEL RUST_LOG LOGS_DIRECTORY LOG_COLOR
    CUDA_VERSION CUDA_VISIBLE_DEVICES NVIDIA_VISIBLE_DEVICES NV_CUDA_LIB_VERSION NCCL_VERSION
    LD_LIBRARY_PATH OMP_NUM_THREADS MODEL_ID MODEL HF_HOME HF_TOKEN HUGGINGFACE_HUB_CACHE PORT
    VLLM_API_KEY VLLM_PORT VLLM_MODEL VLLM_HOST_IP OPENAI_API_KEY OPENAI_BASE_URL
    OLLAMA_HOST OLLAMA_MODELS LLAMA_API_KEY LLAMA_MODEL LM_API_KEY LITELLM_API_KEY
    LLM_USER_PATH LLM_LOAD_PLUGINS LLM_RAISE_ERRORS TTS_HOME COQUI_TOS_AGREED TTS_CACHE
    RAG_EMBEDDING_ENGINE RAG_TOP_K STTY_SETTINGS KAFKA_HOST KAFKA_PORT KANA_PORT STS_ENDPOINT
    EMBEDDING_DIM EMBEDDING_BATCH_NUM RERANK_BINDING COMPOSE_PROFILES COMPOSE_FILE DOCKER_HOST
    HUGGINGFACEHUB_API_TOKEN DOCS_DIR BACKEND_PORT SPEECH_DIR
    KUBERNETES_SERVICE_HOST KUBERNETES_PORT_443_TCP_ADDR
    LLM_SERVICE_HOST LLM_SERVICE_PORT LLM_SERVICE_PORT_HTTP LLM_PORT LLM_PORT_9000_TCP
    LLM_PORT_9000_TCP_PROTO LLM_PORT_9000_TCP_PORT LLM_PORT_9000_TCP_ADDR LLM_NAME LLM_ENV_HOME
    STT_SERVICE_HOST STT_PORT STT_PORT_6006_TCP TTS_PORT TTS_PORT_8080_TCP_ADDR TTS_NAME
    EMBEDDING_SERVICE_PORT EMBEDDING_PORT_8081_TCP KAIWA_SERVICE_HOST KAIWA_SERVICE_PORT
    KAIWA_PORT_8000_TCP KAIWA_PORT_8000_TCP_ADDR
""".split()


@pytest.mark.parametrize("name", OF_OTHERS)
def test_variables_of_others_are_not_told(name: str) -> None:
    assert told(name) == ()


def test_what_merely_extends_one_of_ours_is_left_alone_where_ours_is_set() -> None:
    assert told("EMBEDDING_MODEL_NAME") != ()
    assert told("EMBEDDING_MODEL_NAME", "EMBEDDING_MODEL") == ()
    assert told("LLM_MODEL_NAME", "LLM_MODEL") == ()
    assert told("LLM_ENDPONT", "LLM_ENDPOINT") != (), "a slip of the finger is still one"


def test_the_key_of_the_benchmark_is_not_the_servers() -> None:
    (one,) = told("KAIWA_API_KEY")
    assert "kaiwa bench" in one and one.endswith("KAIWA_API_KEYS")
    assert told("KAIWA_API_KEY", "KAIWA_API_KEYS") == ()


def test_what_only_docker_compose_reads_is_what_env_default_says() -> None:
    text = (ROOT / ".env.default").read_text("utf-8").partition("# --- docker compose only")[2]
    names = {line.partition("=")[0] for line in text.splitlines() if "=" in line.split("#")[0]}
    families = tuple(f"{name.partition('_')[0]}_" for name in ENVIRONMENT)
    assert {name for name in names if name.startswith(families)} == DEPLOYMENT


def test_the_configuration_carries_them_and_shows_no_value() -> None:
    found = load(environment={"LLM_API_KY": "s3cret", "LLM_API_KEY": "s3cret"}).strays
    assert found == ("LLM_API_KY is not a setting; did you mean LLM_API_KEY?",)
    assert load(environment={}).strays == ()
