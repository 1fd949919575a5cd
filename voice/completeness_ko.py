"""Whether Korean words make a whole: the last word's ending says it."""

import re

from voice.completeness_scale import (
    CLAUSE,
    DANGLING,
    FILLER,
    FINAL,
    OPEN,
    SOFT,
    UNSURE,
    ending,
    endings,
)
from voice.dictation import dictation_of

ENDINGS = endings(
    {
        DANGLING: """
        을 를 이 가 은 는 에 에서 에게 한테 께 로 으로 와 과 하고 랑 의 도 만 부터 보다 처럼 마다
        라고 다고 냐고 자고 려고 으러 러 며 면서 거나 든지 다가 자마자 도록 때문에 위해 위해서
        대해 대해서 관련해서 _그리고 _그래서 _그런데 _근데 _하지만 _그러면 _그럼 _그러니까
        _왜냐하면 _왜냐면 _또 _및 _혹은 _또는 _만약 _만약에 _만일 _혹시 _예를_들면 _예를_들어
        _그다음에 _그래가지고 _제 _내 _우리 _저희 _한 _두 _세 _어떤 _무슨 _다른 _새 _모든 _이런
        _그런 _저런 _제일 _가장 _아주 _너무 _좀 _안 _못 _그게 _그니까 _사실은 _사실 _일단
        _우선""",
        FILLER: """
        _음 _어 _그 _저 _저기 _저기요 _뭐 _뭐지 _아 _에 _이제 _막 _뭐랄까 _글쎄 _으음 _흠
        _있잖아요""",
        OPEN: """
        는데 은데 인데 한데 던데 런데 운데 큰데 픈데 고 서 아서 어서 해서 니까 으니까 면 으면 지만
        더니 니 게 까지 할 갈 볼 올 될 한 된 던 있을 없을 때 동안 후에 전에""",
        SOFT: "는데요 은데요 인데요 한데요 고요 서요 니까요 지만요 다면 려고요",
        UNSURE: "거든요 이랑 회의 문의",
        CLAUSE: """
        말고요 야 자 래 해 어 아 지 냐 나 군 구나 걸 데 줘 봐 돼 네 디 명 개 원 나이 아이 종이
        차이 고양이 사이 서로 바로 결과 사과 효과 주의 정도 온도 속도 지도 제주도 휴가 뭔가 언제
        어디 얼마 누구 왜 뭐예 갈게 할게 볼게 줄게 보내줘 그만 좋아 싫어 몰라 맞아 어때 나가
        들어가 _그렇게 _그래 _네 _예 _아니 _안녕""",
        FINAL: """
        요 니다 습니다 입니다 습니까 입니까 합니까 됩니까 십니까 까 세요 주세요 십시오 다 죠 지요
        네요 나요 가요 군요 까요 예요 이에요 어요 아요 해요 돼요 할게요 을게요 에요 잖아 거야 인가
        건가 는가 은가 냐고요 감사합니다 여보세요 _안녕하세요 그만해""",
    },
    of_words=False,
)
FORMAL_QUESTION = re.compile(r"[가-힣]니까$")
STRETCH = re.compile(r"[~〜ー]+$")

DIGITS = {c: str(n) for n, c in enumerate("영일이삼사오육칠팔구")} | {
    "공": "0",
    "륙": "6",
    "빵": "0",
}
FIGURES = re.compile(r"(?:(?<=\s)|^)(?:[0-9공영일이삼사오육륙칠팔구빵-]+에?(?:\s+|$))+$")
KINDS = (
    ("card", re.compile(r"카드.{0,8}$")),
    ("post", re.compile(r"우편 ?번호.{0,4}$")),
    ("pin", re.compile(r"(?:비밀 ?번호|인증 ?번호).{0,4}$")),
    ("id", re.compile(r"주민 ?(?:등록 ?)?번호.{0,4}$")),
    ("number", re.compile(r"(?:계좌|주문|예약|회원|송장|고객).{0,8}$")),
    ("phone", re.compile(r"(?:전화|휴대폰|핸드폰|연락처|폰).{0,8}$")),
    ("phone", re.compile(r"(?:제|내) 번호[는가] *$")),
    ("number", re.compile(r"번호.{0,4}$")),
)


def score(text: str) -> float:
    """How complete the text sounds, 0 to 1; see voice/completeness_scale.py."""
    text = STRETCH.sub("", text[-60:]) or text[-60:]
    dictated = _dictated(text)
    if dictated is not None:
        return dictated
    found = ending(text, ENDINGS)
    if found is None:
        return UNSURE
    which, value = found
    if which in ("니까", "까") and FORMAL_QUESTION.search(text):
        return FINAL if _closes_in_b(text[-3]) else OPEN
    return value


def _closes_in_b(syllable: str) -> bool:
    """Whether the Hangul syllable ends in ㅂ: 합니까 asks, 하니까 gives a reason."""
    return (ord(syllable) - 0xAC00) % 28 == 17


def _dictated(text: str) -> float | None:
    run = FIGURES.search(text)
    if run is None:
        return None
    digits = "".join(DIGITS.get(c, c) for c in run[0] if c in DIGITS or c.isdecimal())
    if not digits or run[0].strip() in DIGITS:
        return None
    before = text[: run.start()].strip()
    pieces = run[0].replace("-", " ").split()
    spoken = not any(c.isdecimal() for c in run[0])
    found = dictation_of(before, digits, len(pieces), is_spoken=spoken, kinds=KINDS, language="ko")
    return DANGLING if found is not None and pieces[-1].endswith("에") else found
