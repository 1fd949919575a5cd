"""What an embedding model wants to be told before a question and before a passage.

A model trained with such words and asked without them finds less, and says nothing about it. The
sources are the models' own cards; a model that is not in the table gets its texts as they are.
"""

import re
from zlib import crc32

import msgspec


class Prefixes(msgspec.Struct, frozen=True):
    """Put before every text of its kind, spaces and line breaks included."""

    query: str = ""
    passage: str = ""

    @property
    def rules(self) -> str:
        """Eight hex digits that are others as soon as a letter of the prefixes is."""
        return f"{crc32(msgspec.json.encode(self)):08x}"


_SEARCH = "Represent this sentence for searching relevant passages: "
_TASK = "Given a web search query, retrieve relevant passages that answer the query"

_TABLE: tuple[tuple[str, Prefixes], ...] = (
    # intfloat/multilingual-e5-large-instruct, intfloat/e5-mistral-7b-instruct
    (r"e5-.*instruct", Prefixes(f"Instruct: {_TASK}\nQuery: ")),
    # intfloat/multilingual-e5-base, intfloat/e5-large-v2: "even for non-English texts"
    (r"\be5-(small|base|large)", Prefixes("query: ", "passage: ")),
    # cl-nagoya/ruri-v3-310m: the "1+3 prefix scheme"
    (r"\bruri-v3", Prefixes("検索クエリ: ", "検索文書: ")),
    # cl-nagoya/ruri-large, cl-nagoya/ruri-base-v2
    (r"\bruri-(small|base|large)", Prefixes("クエリ: ", "文章: ")),
    # pkshatech/GLuCoSE-base-ja-v2
    (r"\bglucose-base-ja-v2", Prefixes("query: ", "passage: ")),
    # nomic-ai/nomic-embed-text-v1.5
    (r"\bnomic-embed-text", Prefixes("search_query: ", "search_document: ")),
    # Snowflake/snowflake-arctic-embed-l-v2.0 (Ollama: snowflake-arctic-embed2), then the first ones
    (r"arctic-embed(2|-.*v2)", Prefixes("query: ")),
    (r"arctic-embed", Prefixes(_SEARCH)),
    # mixedbread-ai/mxbai-embed-large-v1
    (r"\bmxbai-embed", Prefixes(_SEARCH)),
    # BAAI/bge-base-en-v1.5, BAAI/bge-large-zh-v1.5; bge-m3 wants none
    (r"\bbge-(small|base|large)-en", Prefixes(_SEARCH)),
    (r"\bbge-(small|base|large)-zh", Prefixes("为这个句子生成表示以用于检索相关文章：")),
    # Qwen/Qwen3-Embedding-0.6B
    (r"qwen3-embedding", Prefixes(f"Instruct: {_TASK}\nQuery:")),
    # google/embeddinggemma-300m
    (r"\bembeddinggemma", Prefixes("task: search result | query: ", "title: none | text: ")),
)  # fmt: skip
_RULES = tuple((re.compile(pattern), prefixes) for pattern, prefixes in _TABLE)


def prefixes_of(model: str) -> Prefixes:
    """For a model's name as a hub, a server or a folder has it: `intfloat/multilingual-e5-base`."""
    name = model.lower().replace("_", "-")
    return next((prefixes for rule, prefixes in _RULES if rule.search(name)), Prefixes())


def is_same_model(wanted: str, served: str) -> bool:
    """Whether two names mean one model: owner, folder, letter case and `:latest` may differ."""

    def bare(name: str) -> str:
        return name.rstrip("/").rpartition("/")[2].lower().removesuffix(":latest")

    return bare(wanted) == bare(served)
