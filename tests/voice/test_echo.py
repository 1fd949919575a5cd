"""The agent's own words come back, against callers who use some of them."""

import pytest

from voice.echo import is_echo

OPEN = "We are open from nine until eight every day except Sunday."
ROOM = "You can book the large meeting room online, or call us before noon on the same day."
PRICE = "The membership costs forty-five euros a month, and you can cancel at any time."
JA = "営業時間は午前九時から午後八時までです。日曜日はお休みをいただいております。"
KO = "영업시간은 오전 아홉 시부터 오후 여덟 시까지이고 일요일은 쉽니다."
ZH = "我们的营业时间是上午九点到晚上八点，星期天休息。"

ECHOES = [
    (OPEN, "we are open from nine until eight"),
    (OPEN, "open from nine until ate every day"),
    (OPEN, "are open from mine until eight every"),
    (OPEN, "every day except sunday"),
    (OPEN, "nine until eight every"),
    (OPEN, "open"),
    (OPEN, "except sunday"),
    (OPEN, "we're open from nine until eight every day"),
    (ROOM, "you can book the large meeting room"),
    (ROOM, "can book a large meeting room on line or"),
    (ROOM, "the large meaning room online or call"),
    (ROOM, "call us before noon on the same day"),
    (PRICE, "the membership cost forty five euros a month"),
    (PRICE, "membership cost forty five"),
    (PRICE, "and you can cancel at any time"),
    (PRICE, "membership costs forty five heroes a month and"),
    (JA, "営業時間は午前九時から"),
    (JA, "営業時間は午前九時から午後八時まで"),
    (JA, "営業時間が午前九時から午後八次まで"),
    (JA, "日曜日はお休みを"),
    (KO, "영업시간은 오전 아홉 시부터"),
    (KO, "영업 시간은 오전 아홉시부터 오후 여덟"),
    (KO, "영업시간은 오전 아홉 씨부터 오후"),
    (KO, "일요일은 쉽니다"),
    (ZH, "我们的营业时间是上午九点"),
    (ZH, "营业时间是上午九点到晚上八点"),
    (ZH, "我们的营业时间是上午就点到晚上"),
    (ZH, "星期天休息"),
]
CALLERS = [
    (OPEN, "are you open on sunday"),
    (OPEN, "what about sunday"),
    (OPEN, "no not on sunday"),
    (OPEN, "stop"),
    (OPEN, "open from nine until stop"),
    (OPEN, "we are open from nine wait please"),
    (OPEN, "are you open until eight"),
    (OPEN, "we are open from nine until eight monday morning"),
    (OPEN, "open until seven"),
    (OPEN, "i need it every day"),
    (OPEN, "monday"),
    (OPEN, "okay"),
    (OPEN, ""),
    (OPEN, "day nine open sunday"),
    (ROOM, "the small meeting room"),
    (ROOM, "is the large room free at noon"),
    (ROOM, "how do i book it online"),
    (ROOM, "who do i call"),
    (ROOM, "i would rather call on friday"),
    (PRICE, "how can i cancel"),
    (PRICE, "forty five is a lot of money for that"),
    (PRICE, "that's too much for a month"),
    (JA, "日曜日は開いてますか"),
    (JA, "ちょっと待って"),
    (JA, "午後八時までですか"),
    (JA, "土曜日は何時までですか"),
    (JA, "午後の予約をお願いします"),
    (KO, "일요일에 예약하고 싶어요"),
    (KO, "잠깐만요"),
    (KO, "토요일은 몇 시까지 해요"),
    (ZH, "星期天开门吗"),
    (ZH, "等一下"),
    (ZH, "我想星期六上午来"),
    ("", "hello"),
    ("Von neun bis acht.", "nein"),
]


@pytest.mark.parametrize(("spoken", "heard"), ECHOES)
def test_the_agents_own_words_are_an_echo(spoken: str, heard: str) -> None:
    assert is_echo(heard, spoken)


@pytest.mark.parametrize(("spoken", "heard"), CALLERS)
def test_a_caller_who_says_something_else_is_none(spoken: str, heard: str) -> None:
    assert not is_echo(heard, spoken)


@pytest.mark.parametrize("spoken", [OPEN, ROOM, PRICE, JA, KO, ZH])
def test_all_that_was_said_is_an_echo_of_itself(spoken: str) -> None:
    assert is_echo(spoken, spoken)
