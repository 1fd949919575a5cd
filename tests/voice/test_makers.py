"""Which providers a configuration means, and in which order they stand in for each other."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from mocks.serve_embed import EmbedServer
from providers.base import Passage, ProviderError
from voice.build import make
from voice.chain import Chain
from voice.config import (
    ENVIRONMENT,
    Config,
    LlmConfig,
    SttConfig,
    TtsConfig,
    TurnConfig,
    load,
)
from voice.errors import ConfigError
from voice.makers import KNOWN, NEEDS, chosen, links, make_all, problems

SLOTS = ("vad", "stt", "llm", "tts", "embedder", "reranker")
ADDRESSES = {
    "STT_ENDPOINT": "ws://127.0.0.1:6006",
    "LLM_ENDPOINT": "http://127.0.0.1:9000",
    "TTS_ENDPOINT": "http://127.0.0.1:8080,http://127.0.0.1:8090",
    "EMBEDDING_ENDPOINT": "http://127.0.0.1:8081",
    "RERANKER_ENDPOINT": "http://127.0.0.1:8082",
}


def names(config: Config) -> list[str]:
    return [chosen(config, slot) for slot in SLOTS]


def test_without_anything_nothing_is_needed() -> None:
    expected = ["silero", "pocketsphinx", "extractive", "espeak", "lexical", "none"]
    assert names(load(environment={})) == expected


def test_an_address_brings_the_client_that_speaks_to_it() -> None:
    config = load(environment=ADDRESSES)
    assert names(config) == ["silero", "sherpa-server", "openai", "fish", "tei", "tei"]


def test_a_mock_stays_one_whatever_addresses_there_are() -> None:
    assert names(load(profile="mock", environment=ADDRESSES))[1:4] == ["mock"] * 3


@pytest.mark.parametrize("at", ["model.onnx", "zipformer-en/encoder.onnx"])
def test_a_model_in_its_folder_is_used(tmp_path: Path, at: str) -> None:
    (tmp_path / at).parent.mkdir(exist_ok=True)
    (tmp_path / at).touch()
    config = load(environment={"STT_MODEL_DIR": str(tmp_path), "TTS_MODEL_DIR": str(tmp_path)})
    assert (chosen(config, "stt"), chosen(config, "tts")) == ("sherpa", "sherpa")


def test_what_production_cannot_be_without_is_told_with_its_variables() -> None:
    with pytest.raises(ConfigError) as refused:
        load(profile="production", environment={}, judge=problems)
    for variable in ("LLM_ENDPOINT", "TTS_ENDPOINT", "EMBEDDING_ENDPOINT"):
        assert f"set {variable}" in str(refused.value)
    assert list(problems(load(profile="production", environment=ADDRESSES))) == []


def test_production_has_somebody_to_stand_in_for_every_server_a_caller_hears() -> None:
    config = load(profile="production", environment=ADDRESSES)
    chains = {slot: [chosen(own, slot) for own in links(config, slot)] for slot in SLOTS}
    assert chains["stt"] == ["sherpa-server", "pocketsphinx"]
    assert chains["llm"] == ["openai", "extractive"]
    assert chains["tts"] == ["fish", "espeak"]


def test_nobody_stands_in_for_himself() -> None:
    """Production without servers and models, as docker-compose.cpu.yml may have it."""
    with_none = {"STT_ENDPOINT": "", "TTS_ENDPOINT": "", "TTS_PROVIDER": "auto"}
    config = load(profile="production", environment={**ADDRESSES, **with_none})
    for slot, name in (("stt", "pocketsphinx"), ("tts", "espeak")):
        assert [chosen(own, slot) for own in links(config, slot)] == [name]
        assert not isinstance(make(config, slot), Chain)
    second = Config(tts=TtsConfig("espeak", ("espeak", "parrot")))
    assert [path for path, _ in problems(second)] == ["tts.fallbacks[1].provider"]


def test_a_fallback_may_differ_in_more_than_its_name() -> None:
    backup = {"provider": "openai", "endpoint": "https://backup.example.com/v1", "model": "small"}
    config = Config(llm=LlmConfig("openai", (backup,), endpoint="http://vllm:8000", model="large"))
    first, second = links(config, "llm")
    assert (first.llm.endpoint, first.llm.model) == ("http://vllm:8000", "large")
    assert (second.llm.endpoint, second.llm.model) == ("https://backup.example.com/v1", "small")
    assert second.llm.fallbacks == ()


@pytest.mark.parametrize(
    ("fallback", "path", "what"),
    [
        ("parrot", "tts.fallbacks[0].provider", "known are auto, espeak, fish"),
        ("fish", "tts.fallbacks[0].endpoints", "set TTS_ENDPOINT"),
        ({"provider": "espeak", "vocie": "x"}, "tts.fallbacks[0].vocie", "known are"),
        ({"provider": "espeak", "api_key": 5}, "tts.fallbacks[0].api_key", "must be text"),
        ({"provider": "espeak", "audio_limit_s": -1}, "tts.fallbacks[0].audio_limit_s", "> 0"),
    ],
)
def test_a_fallback_that_cannot_be_is_told_by_its_place(
    fallback: Any, path: str, what: str
) -> None:
    ((found, why),) = problems(Config(tts=TtsConfig("espeak", (fallback,))))
    assert found == path and what in why


def test_what_runs_in_process_and_alone_is_no_chain() -> None:
    config = load(environment={})
    assert not any(isinstance(make(config, slot), Chain) for slot in ("vad", "stt", "llm", "tts"))


def test_a_server_elsewhere_is_a_chain_even_alone() -> None:
    config = load(environment=ADDRESSES)
    alone = [
        msgspec.structs.replace(getattr(config, slot), fallbacks=())
        for slot in ("stt", "llm", "tts")
    ]
    config = Config(stt=alone[0], llm=alone[1], tts=alone[2])
    chains = [make(config, slot) for slot in ("stt", "llm", "tts")]
    assert [len(chain.links) for chain in chains] == [1, 1, 1]
    stt = Config(stt=SttConfig("pocketsphinx", ("mock",)))
    assert [link.info.provider for link in make(stt, "stt").links] == ["pocketsphinx", "echo"]


def test_what_is_needed_is_a_setting_of_a_provider_there_is() -> None:
    for (slot, name), (setting, variable, _) in NEEDS.items():
        assert name in KNOWN[slot] and hasattr(getattr(Config(), slot), setting)
        assert ENVIRONMENT[variable] == (slot, setting)


# --- what is set arrives --------------------------------------------------------------------------


def first_request(
    environment: dict[str, str], provider: str, file: Path | None = None
) -> tuple[str, bytes]:
    """Content type and body of what a TTS provider sends for a clause."""
    seen: list[tuple[str, bytes]] = []

    async def note(request: web.Request) -> web.Response:
        if request.method == "POST":
            seen.append((request.content_type, await request.read()))
        return web.Response(status=400)

    async def main() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", note)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        variables = {"TTS_ENDPOINT": site_url(runner), "TTS_PROVIDER": provider, **environment}
        tts, *_ = make_all(load(file=file, environment=variables), "tts")
        with suppress(ProviderError):
            async with aclosing(tts.stream("Good morning.")) as events:
                async for _ in events:
                    pass
        await tts.aclose()
        await runner.cleanup()

    asyncio.run(main())
    return seen[0]


def site_url(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({}, "application/msgpack"),
        ({"TTS_ENCODING": "json"}, "application/json"),
    ],
)
def test_fish_speech_is_asked_in_the_encoding_that_is_set(
    environment: dict[str, str], kind: str
) -> None:
    assert first_request(environment, "fish")[0] == kind


@pytest.mark.parametrize(("stream", "form"), [("audio", "audio"), ("sse", "sse")])
def test_a_speech_api_is_asked_for_the_stream_that_is_set(stream: str, form: str) -> None:
    _, body = first_request({"TTS_STREAM": stream, "TTS_MODEL": "tts-1"}, "speech-api")
    assert msgspec.json.decode(body)["stream_format"] == form


def test_further_fields_of_a_speech_api_are_those_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "kaiwa.yaml"
    file.write_text("tts: {extra: {task_type: Base}, model: m}")
    _, body = first_request({}, "speech-api", file)
    assert msgspec.json.decode(body)["task_type"] == "Base"


def test_a_server_of_speech_is_given_the_time_and_told_the_price_that_are_set(
    tmp_path: Path,
) -> None:
    file = tmp_path / "kaiwa.yaml"
    file.write_text("tts: {provider: speech-api, paid: true}")
    address = {"TTS_ENDPOINT": "http://127.0.0.1:9", "TTS_FIRST_WORD_LIMIT_S": "33"}
    paid, _ = make_all(load(file=file, environment=address), "tts")
    ours, _ = make_all(load(environment={**address, "TTS_PROVIDER": "speech-api"}), "tts")
    assert paid.check_every_s > ours.check_every_s
    fish, _ = make_all(load(environment=address), "tts")
    assert [tts._first_word_s for tts in (paid, fish)] == [33, 33]


PASSAGES = [
    Passage(text="We open at nine.", source="b.md", heading="When we are open", score=0.4),
    Passage(text="Dogs are welcome.", source="a.md", score=0.9),
]


def ranked(
    environment: dict[str, str], work: Callable[[Any], Awaitable[Any]], **options: Any
) -> Any:
    async def main() -> Any:
        async with EmbedServer(kind="reranker", **options) as server:
            variables = {"RERANKER_ENDPOINT": server.url, **environment}
            (reranker,) = make_all(load(environment=variables), "reranker")
            try:
                return await work(reranker)
            finally:
                await reranker.aclose()

    return asyncio.run(main())


async def rank(reranker: Any) -> list[str]:
    found = await reranker.rank("when are you open", PASSAGES)
    return [passage.source for passage in found]


def test_a_reranker_leaves_out_what_scores_less_than_is_set() -> None:
    patient = {"RERANKER_LIMIT_S": "10"}
    assert ranked({**patient, "RERANKER_KEEP": "0"}, rank) == ["b.md", "a.md"]
    assert ranked({**patient, "RERANKER_KEEP": "0.5"}, rank) == ["b.md"]


def test_a_reranker_is_waited_for_as_long_as_is_set() -> None:
    with pytest.raises(ProviderError):
        ranked({"RERANKER_LIMIT_S": "0.05"}, rank, delay_ms=500)
    assert ranked({"RERANKER_LIMIT_S": "10"}, rank, delay_ms=500)[0] == "b.md"


def test_an_embedder_in_process_gets_the_threads_that_are_set() -> None:
    names = {"EMBEDDING_PROVIDER": "sentence-transformers", "EMBEDDING_MODEL": "m"}
    (one,) = make_all(load(environment=names), "embedder")
    (four,) = make_all(load(environment={**names, "EMBEDDING_THREADS": "4"}), "embedder")
    assert (one._threads, four._threads) == (1, 4)


@pytest.mark.parametrize("fallbacks", [None, ()])
def test_what_needs_no_server_stands_in_for_one_unless_the_operator_wants_nobody(
    fallbacks: tuple[str, ...] | None,
) -> None:
    config = Config(
        stt=SttConfig(endpoint="ws://stt:6006", fallbacks=fallbacks),
        llm=LlmConfig(endpoint="http://llm:9000/v1", fallbacks=fallbacks),
        tts=TtsConfig(endpoints=("http://tts:8080",), fallbacks=fallbacks),
    )
    found = [[chosen(own, slot) for own in links(config, slot)] for slot in ("stt", "llm", "tts")]
    servers = [["sherpa-server"], ["openai"], ["fish"]]
    inside = [["pocketsphinx"], ["extractive"], ["espeak"]] if fallbacks is None else [[], [], []]
    assert found == [first + others for first, others in zip(servers, inside, strict=True)]


NAMED = {
    "STT_PROVIDER": "sherpa-server",
    "STT_ENDPOINT": "ws://stt:6006",
    "LLM_PROVIDER": "openai",
    "LLM_ENDPOINT": "http://llm:9000/v1",
    "EMBEDDING_PROVIDER": "tei",
    "EMBEDDING_ENDPOINT": "http://embedding:8081",
    "TTS_ENDPOINT": "http://tts:8080",
}


@pytest.mark.parametrize("voice", ["fish", "speech-api"])
def test_a_server_that_is_named_has_the_stand_in_it_would_have_unnamed(voice: str) -> None:
    config = load(environment={**NAMED, "TTS_PROVIDER": voice})
    slots = ("stt", "llm", "tts", "embedder")
    found = [[chosen(own, slot) for own in links(config, slot)] for slot in slots]
    others = [["sherpa-server", "pocketsphinx"], ["openai", "extractive"], [voice, "espeak"]]
    assert found == [*others, ["tei"]], "a search does without an embedder by itself"
    assert list(problems(config)) == []


def test_one_of_our_own_that_is_named_and_a_mock_are_alone() -> None:
    for slot, section in (
        ("stt", SttConfig("sherpa")),
        ("stt", SttConfig("mock", endpoint="ws://stt:6006")),
        ("tts", TtsConfig("openjtalk", endpoints=("http://tts:8080",))),
    ):
        config = msgspec.structs.replace(Config(), **{slot: section})
        assert [chosen(own, slot) for own in links(config, slot)] == [section.provider]


def test_a_turn_model_is_used_where_its_file_lies_and_refused_where_it_is_not(
    tmp_path: Path,
) -> None:
    def turn(model: str, provider: str = "auto") -> Config:
        return Config(turn=TurnConfig(provider=provider, model=model))

    folder, file = tmp_path / "turn", tmp_path / "turn" / "smart-turn" / "v3.onnx"
    assert chosen(turn(str(folder)), "turn") == "none"
    assert chosen(turn(""), "turn") == "none"
    assert make(turn(str(folder)), "turn") is None
    file.parent.mkdir(parents=True)
    file.touch()
    for model in (folder, file.parent, file):
        made = make(turn(str(model)), "turn")
        assert (made.info.provider, made.info.model) == ("smart-turn", "v3.onnx")
    assert make(turn(str(folder), provider="none"), "turn") is None
    (folder / "other.onnx").touch()
    several = dict(problems(turn(str(folder))))["turn.model"]
    assert "several models, other.onnx, smart-turn/v3.onnx; name one" in several
    missing = dict(problems(turn(str(folder / "none.onnx"))))["turn.model"]
    assert "none.onnx is not there" in missing
    empty = dict(problems(turn(str(tmp_path / "empty"), provider="smart-turn")))
    assert "kaiwa models pull smart-turn" in empty["turn.model"]
