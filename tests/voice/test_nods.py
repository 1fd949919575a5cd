"""What takes the floor while the agent speaks, what only nods, and what answers in a word."""

import pytest

from voice.nods import (
    call_in,
    is_backchannel,
    is_short_answer,
    may_be_backchannel,
    without_nods,
)
from voice.scripts import words

NODS = {
    "en": """
        mm-hm|mm hmm|uh-huh|uh huh|yeah|right|okay|I see|got it|oh okay|oh really|ah|aha|mhm|hmm
        sure|okay great|yeah yeah|right right|oh I see|I see okay|that makes sense|yeah okay right
        wow|Okay.|all right
        oh okay that makes sense|ha ha ha|haha|Mm.|oh wow|exactly|understood|of course
        Yeah, sure.""",
    "ja": """
        うん|うんうん|ええ|はい|そうですね|なるほど|なるほどね|へえ|へー|ああ|はいはい|そうですか
        そうなんですね|確かに|うーん|ふーん|そうなんだ|はあ|ほう|わかりました|了解です
        ああ、なるほど|ああ、そうなんですね|あははは|ふふ
        はい、はい。|そっか|うん、うん、うん|ええ ええ""",
    "ko": """
        네|응|예|그래요|그렇군요|아|음|네네|네 네|그렇죠|맞아요|아 네|알겠습니다|그렇구나|아하|흠
        정말요|진짜요|아, 그렇군요|오|그쵸|네, 네.|좋아요|어|아 그래요|네 알겠어요
        하하하|아 네 그렇군요 알겠습니다""",
    "zh": """
        嗯|对|好的|嗯嗯|哦|好|是的|是|对对对|对啊|啊|明白|明白了|了解|知道了|原来如此|是吗|这样啊
        没错|行|嗯，好的|哦，是吗|对，没错|好好好|真的吗|嗯 嗯|喔|對|哈哈哈|哦这样啊好的明白了""",
}
FLOOR = {
    "en": """
        yes|no|stop|wait|no no|hold on|what|why|wait a second|okay but|yeah but how much|excuse me
        sorry|how much|no thanks|actually|I have a question|right now|can I ask|not that one
        please stop|hello|be quiet|yes please|that's wrong|okay what about sunday
        right but I need two|yeah yeah yeah yeah yeah|i see i see i see""",
    "ja": """
        やめて|ちょっと待って|いや|いいえ|待って|違います|ストップ|それはいつ|はい、でも
        なるほどじゃあ|すみません|もしもし|いくら|うんでも|聞こえません|もういいです|ええと予約を
        はいお願いします|違う違う|ちょっと|いらない|日曜日は|質問があります|止めて|そうじゃなくて
        もう一度""",
    "ko": """
        그만|잠깐만요|아니요|아니|잠시만|멈춰|얼마예요|네 그런데|뭐라고요|왜요|안 들려요
        질문이 있어요|언제요|아뇨|그거 말고|여보세요|네 하지만|됐으니까 그만해|다시요|일요일은요
        틀렸어요|기다려|그게 아니라|예약할게요|응 근데|저기요""",
    "zh": """
        等等|停|不|不是|等一下|别说了|多少钱|什么|好的但是|对了我想问|我有问题|为什么|不对|听不到
        喂|再说一遍|嗯那个|是不是|星期天呢|够了|打断一下|好了好了别说了|我要退货|没有|怎么走
        先停一下""",
}
SHORT = {
    "en": """
        yes|no|okay|right|Yes.|yeah|nope|no thanks|yes please|that's right|sure|of course|no no
        correct""",
    "ja": "はい|いいえ|うん|ええ|はい、お願いします|そうです|違います|大丈夫です|いや|はいはい",
    "ko": "네|아니요|아뇨|예|맞아요|괜찮아요|네 맞습니다|됐어요|네, 감사합니다|좋아요",
    "zh": "好|对|不是|是的|不用|好的谢谢|没有|可以|不要|是|对的",
}
LONGER = {
    "en": "yes but|no I want the other one|okay so|my number|saturday|four seven two|right after|",
    "ja": "はい、それから|いいえ実は|うんと|土曜日|はいでも|",
    "ko": "네 그런데|아니요 저는|토요일이요|네 제가|",
    "zh": "好的但是|不是我|对不起|是我|没有收到|",
}


def each(cases: dict[str, str]) -> list[tuple[str, str]]:
    return [
        (language, text.strip())
        for language, texts in cases.items()
        for text in texts.replace("\n", "|").split("|")
        if text.strip() or language == "en" and text == ""
    ]


@pytest.mark.parametrize(("language", "text"), [case for case in each(NODS) if case[1]])
def test_a_nod_leaves_the_agent_the_floor(language: str, text: str) -> None:
    assert is_backchannel(text, language)
    assert is_backchannel(text, ""), "its script tells the language"


@pytest.mark.parametrize(("language", "text"), each(FLOOR))
def test_anything_else_takes_the_floor(language: str, text: str) -> None:
    assert not is_backchannel(text, language)


@pytest.mark.parametrize(("language", "text"), [case for case in each(SHORT) if case[1]])
def test_an_answer_in_a_word_is_whole(language: str, text: str) -> None:
    assert is_short_answer(text, language)


@pytest.mark.parametrize(("language", "text"), each(LONGER))
def test_an_answer_that_goes_on_is_not_short(language: str, text: str) -> None:
    assert not is_short_answer(text, language)


def test_the_lists_are_long_enough_to_mean_something() -> None:
    for language in NODS:
        assert sum(known == language and bool(text) for known, text in each(NODS)) >= 25
        assert sum(known == language and bool(text) for known, text in each(FLOOR)) >= 25


@pytest.mark.parametrize(("language", "text"), [case for case in each(NODS) if case[1]])
def test_every_beginning_of_a_nod_may_become_one(language: str, text: str) -> None:
    pieces = text.split() if language == "en" else list(text)
    space = " " if language == "en" else ""
    for count in range(1, len(pieces) + 1):
        begun = space.join(pieces[:count])
        assert not begun.strip("、,，. ") or may_be_backchannel(begun, language), begun


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "no"),
        ("en", "that is wrong"),
        ("en", "oh no"),
        ("en", "i want"),
        ("ja", "やめ"),
        ("ja", "うんでも"),
        ("ko", "그만"),
        ("zh", "停"),
        ("zh", "对但"),
        ("en", ""),
    ],
)
def test_what_can_become_none_is_none(language: str, text: str) -> None:
    assert not may_be_backchannel(text, language)


@pytest.mark.parametrize(
    ("language", "text", "spoken", "left"),
    [
        ("en", "open from nine mm-hm until", "we are open from nine until", "open from nine until"),
        ("ja", "朝九時からそうですね夜八時", "朝九時から夜八時まで", "朝九時から夜八時"),
        ("zh", "早上九点嗯嗯", "早上九点到", "早上九点"),
    ],
)
def test_a_nod_is_found_among_words_that_somebody_else_says(
    language: str, text: str, spoken: str, left: str
) -> None:
    lefts = without_nods(text, language, set(words(spoken)), is_final=True)
    assert left in {one if language == "en" else one.replace(" ", "") for one in lefts}
    assert not list(without_nods("stop it now", "en", set(), is_final=True))


def test_a_nod_that_is_all_there_is_leaves_nothing() -> None:
    assert list(without_nods("okay", "en", set(), is_final=True)) == []


@pytest.mark.parametrize(
    ("language", "text", "call"),
    [
        ("en", "no wait I meant tuesday", "no wait"),
        ("en", "please stop", "please stop"),
        ("en", "hold on a second", "hold on"),
        ("ja", "あ、ちょっと待ってください", "あちょっと待って"),
        ("ja", "やめて", "やめて"),
        ("ko", "잠깐만요", "잠깐"),
        ("zh", "等一下", "等一"),
        ("zh", "先停一下", "先停"),
        ("en", "the bus stop is closed", ""),
        ("en", "stopping by on sunday", ""),
        ("ja", "予約を待っています", ""),
        ("en", "", ""),
    ],
)
def test_who_asks_for_the_floor_outright_begins_with_it(
    language: str, text: str, call: str
) -> None:
    assert call_in(text, language) == call == call_in(text, "")
