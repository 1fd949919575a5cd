"""The few sentences Kaiwa says by itself, by language."""

APOLOGY = {
    "en": "Sorry, I can't answer right now. Please try again in a moment.",
    "ja": "申し訳ありません。ただいまお答えできません。少し後でもう一度お試しください。",
    "ko": "죄송합니다. 지금은 답변할 수 없습니다. 잠시 후 다시 시도해 주세요.",
    "zh": "抱歉，我现在无法回答。请稍后再试。",
}


def apology(language: str) -> str:
    """Args:
    language: BCP 47 tag; any other language is apologised to in English.
    """
    return APOLOGY.get(language.split("-")[0].lower(), APOLOGY["en"])
