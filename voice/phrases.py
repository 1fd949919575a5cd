"""The few sentences Kaiwa says by itself, by language."""

APOLOGY = {
    "en": "Sorry, I can't answer right now. Please try again in a moment.",
    "ja": "申し訳ありません。ただいまお答えできません。少し後でもう一度お試しください。",
    "ko": "죄송합니다. 지금은 답변할 수 없습니다. 잠시 후 다시 시도해 주세요.",
    "zh": "抱歉，我现在无法回答。请稍后再试。",
}


MISHEARD = {
    "en": "Sorry, I didn't catch that. Could you say it again?",
    "ja": "すみません、聞き取れませんでした。もう一度お願いします。",
    "ko": "죄송합니다, 잘 듣지 못했어요. 다시 한번 말씀해 주세요.",
    "zh": "抱歉，我没有听清。请再说一遍。",
}

HOLD = {
    "en": ("One moment, please.", "I'm still looking.", "This takes a little longer than usual."),
    "ja": ("少々お待ちください。", "まだ確認しています。", "いつもより少し時間がかかっています。"),
    "ko": ("잠시만 기다려 주세요.", "아직 확인하고 있어요.", "평소보다 조금 더 걸리네요."),
    "zh": ("请稍等。", "我还在查找。", "这次需要的时间比平时长一些。"),
}
LANGUAGES = tuple(APOLOGY)


IDLE = {
    "en": "Are you still there?",
    "ja": "もしもし、聞こえていますか。",
    "ko": "여보세요, 듣고 계신가요?",
    "zh": "您还在吗？",
}

GOODBYE = {
    "en": "Goodbye.",
    "ja": "失礼いたします。",
    "ko": "안녕히 계세요.",
    "zh": "再见。",
}

CONNECTING = {
    "en": "One moment, I'm connecting you.",
    "ja": "おつなぎいたします。少々お待ちください。",
    "ko": "연결해 드리겠습니다. 잠시만 기다려 주세요.",
    "zh": "正在为您转接，请稍等。",
}

TIME_OVER = {
    "en": "I'm sorry, I have to end this call now. Goodbye.",
    "ja": "申し訳ありませんが、お時間になりましたので失礼いたします。",
    "ko": "죄송하지만 통화 시간이 끝나서 이만 끊겠습니다. 안녕히 계세요.",
    "zh": "抱歉，通话时间已到，我得挂断了。再见。",
}


def apology(language: str) -> str:
    """Args:
    language: BCP 47 tag; any other language is apologised to in English.
    """
    return APOLOGY[_known(language)]


def misheard(language: str) -> str:
    """Asks for it once more, where the recogniser lost what was said."""
    return MISHEARD[_known(language)]


def hold(language: str, number: int) -> str:
    """What is said into a long silence: the `number`th time in one answer, from 0. Only the first
    is not said again."""
    first, *others = HOLD[_known(language)]
    return others[(number - 1) % len(others)] if number else first


def idle(language: str) -> str:
    """Asks a caller who has been silent for long."""
    return IDLE[_known(language)]


def goodbye(language: str) -> str:
    return GOODBYE[_known(language)]


def connecting(language: str) -> str:
    """Before a call is transferred."""
    return CONNECTING[_known(language)]


def time_over(language: str) -> str:
    """Announces the end of a call that has lasted as long as it may."""
    return TIME_OVER[_known(language)]


def all_phrases(language: str) -> tuple[str, ...]:
    known = _known(language)
    return (APOLOGY[known], MISHEARD[known], *HOLD[known])


def _known(language: str) -> str:
    primary = language.split("-")[0].lower()
    return primary if primary in APOLOGY else "en"
