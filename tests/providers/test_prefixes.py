import pytest

from providers._prefixes import Prefixes, is_same_model, prefixes_of

E5 = Prefixes("query: ", "passage: ")


@pytest.mark.parametrize(
    "name",
    [
        "intfloat/multilingual-e5-base",
        "intfloat/multilingual-e5-large",
        "intfloat/e5-small-v2",
        "models/embedding/multilingual_e5_base",
        "Multilingual-E5-Base",
        "jeffh/intfloat-multilingual-e5-large:latest",
    ],
)
def test_e5_is_known_wherever_it_lies_and_however_it_is_written(name: str) -> None:
    assert prefixes_of(name) == E5


@pytest.mark.parametrize(
    ("name", "query", "passage"),
    [
        ("cl-nagoya/ruri-v3-310m", "検索クエリ: ", "検索文書: "),
        ("cl-nagoya/ruri-large-v2", "クエリ: ", "文章: "),
        ("nomic-embed-text:latest", "search_query: ", "search_document: "),
        ("BAAI/bge-m3", "", ""),
        ("sentence-transformers/all-MiniLM-L6-v2", "", ""),
        ("text-embedding-3-small", "", ""),
        ("Snowflake/snowflake-arctic-embed-l-v2.0", "query: ", ""),
        ("snowflake-arctic-embed2", "query: ", ""),
    ],
)
def test_models_get_what_their_cards_ask_for_and_others_nothing(
    name: str, query: str, passage: str
) -> None:
    assert prefixes_of(name) == Prefixes(query, passage)


def test_instructed_e5_is_asked_otherwise_than_its_sisters() -> None:
    found = prefixes_of("intfloat/multilingual-e5-large-instruct")
    assert found.query.startswith("Instruct: ") and found.query.endswith("\nQuery: ")
    assert found.passage == ""


def test_another_prefix_is_another_rule() -> None:
    rules = {E5.rules, Prefixes().rules, Prefixes("query: ").rules, Prefixes("", "query: ").rules}
    assert len(rules) == 4 and all(len(rule) == 8 for rule in rules)


def test_owner_folder_case_and_latest_make_no_other_model() -> None:
    assert is_same_model("intfloat/multilingual-e5-base", "/data/Multilingual-E5-base/")
    assert is_same_model("nomic-embed-text", "nomic-embed-text:latest")
    assert not is_same_model("intfloat/multilingual-e5-base", "intfloat/multilingual-e5-large")
