"""Short answers, which end a turn at once, and backchannels, which do not take the floor.

    heard           short answer   backchannel
    "yes" "no"      x
    "okay" "right"  x              x
    "mm-hm" "うん"   うん            x
    "stop" "wait"                               takes the floor, like all else; however it sounds

Every word must be one of the list; "okay but" is neither. A partial may lack its end: "そうです"
may become "そうですね", and "that makes" make sense.
"""

import re
from collections.abc import Iterator

from voice.scripts import language_of, words

ANSWERS = {
    "en": """
        yes, yeah, yep, yup, yes please, no, nope, nah, no thanks, no thank you, okay, ok, right
        sure, correct, exactly, absolutely, definitely, certainly, of course, of course not
        please, that's right, that's correct, that's all, that's it, that's fine, alright
        all right, fine, thanks, thank you, got it, i do, i did, not really, mm hmm, mhm, uh huh
        great, perfect, sounds good, sir, ma'am, goodbye, bye, bye bye, very much, not at all
        nothing else""",
    "ja": """
        はい いいえ いえ いや うん ううん ええ そうです そう 違います ちがいます 大丈夫です
        お願いします 結構です 以上です 了解です 了解 わかりました 分かりました
        ありがとうございます ありがとう どうも いいです それでいいです いりません ないです
        オッケー オーケー その通りです もちろん もちろんです""",
    "ko": """
        네 예 응 어 아니요 아뇨 아니 아니오 아닙니다 맞아요 맞습니다 그래요 그래 좋아요 좋습니다
        됐어요 됐습니다 괜찮아요 괜찮습니다 감사합니다 고맙습니다 알겠습니다 알겠어요 그렇습니다
        그럼요 물론이죠 없어요 없습니다 네네 오케이""",
    "zh": """
        好 好的 好吧 对 对的 是 是的 不 不是 不是的 不要 不用 不用了 不用谢 没有 没有了 没了 可以
        行 行的 嗯 嗯嗯 谢谢 谢谢你 不对 没错 当然 当然可以 不行 不可以 就这样 就这些 知道了 明白
        明白了 了解 再见 拜拜 要 要的 有 有的 好啊 好呀 对啊""",
}
BACKCHANNELS = {
    "en": """
        mm, mmm, mm hmm, mm hm, mhm, mmhmm, mhmm, hm, hmm, hmm mm, uh huh, uhuh, uh hu, uhhuh, huh
        ah, aha, ah ha, oh, ooh, wow, yeah, yep, yup, ya, yes yes, right, okay, ok, alright
        all right, sure, i see, got it, gotcha, great, good, nice, cool, fine, perfect, exactly
        interesting, really, true, indeed, of course, makes sense, that makes sense, understood
        oh really, oh okay, that's right, that's good, that's great, that's nice, fair enough
        ah okay, oh wow, oh nice, thanks, thank you, um, uh, ha, haha, hahaha, hah, heh, hehe
        ha ha ha ha ha""",
    "ja": """
        うん うんうん ええ ええと はい はあ ふうん ふーん ふむ へえ へー ほう ほお ああ あー おお
        そう そうですね そうですか そうなんですか そうなんですね そうなんだ そっか そうか なるほど
        なるほどね なるほどですね わかりました 分かりました わかった 了解 了解です 確かに たしかに
        ほんと 本当 本当ですか すごい いいですね そうね だよね ですよね んー うーん
        ありがとうございます ね はは ははは あはは あははは ふふ ふふふ うふふ へへ えへへ""",
    "ko": """
        네 예 응 음 어 아 오 네네 그렇군요 그렇구나 그래요 그래 그렇죠 그쵸 맞아요 맞아 맞습니다
        알겠어요 알겠습니다 아하 흠 진짜 진짜요 정말 정말요 그렇네요 와 우와 좋아요 좋네요 오케이
        그러네요 그럼요 으음 으응 그런가요 아네 고맙습니다 감사합니다 하하 하하하 아하하 호호 히히
        허허 헤헤 크크""",
    "zh": """
        嗯 嗯嗯 哦 噢 喔 啊 唔 呃 对 对的 对对 对啊 是 是的 是啊 是吗 是吧 好 好的 好吧 行 了解
        明白 明白了 知道了 原来如此 原来是这样 这样啊 这样 没错 真的 真的吗 哈 哇 不错 有道理 可以
        当然 谢谢 好啊 哈哈 哈哈哈 呵呵 嘿嘿 嘻嘻""",
}
CALLS = {
    "en": r"(?:(?:oh|hey|no|please|okay|just) )*(?:stop|wait|hold on|hang on|excuse me|shut up)\b",
    "ja": r"(?:あ|あの|ねえ|すみません|いや)*(?:ちょっと)?"
    r"(?:待って|まって|待った|やめて|止めて|とめて|ストップ)",
    "ko": r"(?:아|저기|네|아니)*(?:잠깐|잠시만|그만|멈춰|스톱)",
    "zh": r"(?:啊|哎|喂|不|先)*(?:停|等等|等一|等下|别说|别讲|打断)",
}
"""What begins so asks for the floor."""
MOST_PHRASES = 4
MOST_WORDS = 5
"""Of a language with spaces: "oh okay that makes sense". More is said by who wants the floor, as is
more than four in a row: "yeah yeah yeah yeah yeah"."""
LONGEST_NOD = 8
"""Words, or characters where each one counts."""
TRADITIONAL = str.maketrans("對嗎謝這樣沒來錯當還過別說講斷", "对吗谢这样没来错当还过别说讲断")
STRETCH = re.compile(r"([ーっッ〜])+$")


def is_short_answer(text: str, language: str) -> bool:
    """Whether the whole text is an answer behind which nothing is to be waited for."""
    return _consists_of(_ANSWERS, text, language)


def is_backchannel(text: str, language: str) -> bool:
    """Whether all of the text says "go on": at most four phrases of the kind, no other word."""
    return _consists_of(_BACKCHANNELS, text, language)


def call_in(text: str, language: str) -> str:
    """With what words it asks for the floor outright, as "no wait" or やめて; "": it does not."""
    known = language_of(text, language) or "en"
    call = _CALLS[known].match(plain(text, known))
    return call[0] if call else ""


def plain(text: str, known: str) -> str:
    """As these rules read it."""
    joined = (" " if known == "en" else "").join(words(text))
    return joined.translate(TRADITIONAL) if known == "zh" else joined


def may_be_backchannel(text: str, language: str) -> bool:
    """Whether a partial is one so far, and may be one in the end."""
    if not text or len(text) > 60:
        return False
    known = language_of(text, language) or "en"
    said = words(text)
    if known == "en":
        return len(said) <= MOST_WORDS and _begins(" ".join(said) + " ", _PHRASES["en"])
    joined = "".join(said)
    return _begins(joined.translate(TRADITIONAL) if known == "zh" else joined, _PHRASES[known])


def without_nods(text: str, language: str, known: set[str], *, is_final: bool) -> Iterator[str]:
    """What is left where one backchannel in the text is left out, for each that may be one.

    Args:
        known: Words that begin none, since somebody else says them.
    """
    said, space = words(text), " " if language_of(text, language) in ("en", "") else ""
    for start, word in enumerate(said):
        if word in known:
            continue
        for end in range(start + 1, min(start + LONGEST_NOD, len(said)) + 1):
            part, rest = space.join(said[start:end]), said[:start] + said[end:]
            unsure = end == len(said) and not is_final
            nods = may_be_backchannel if unsure else is_backchannel
            if rest and nods(part, language):
                yield " ".join(rest)


def _begins(text: str, phrases: tuple[str, ...], most: int = MOST_PHRASES) -> bool:
    """Whether a row of phrases begins with this."""
    if not text or any(phrase.startswith(text) for phrase in phrases):
        return True
    rests = (text[len(phrase) :] for phrase in phrases if text.startswith(phrase))
    return most > 1 and any(_begins(rest, phrases, most - 1) for rest in rests)


def _consists_of(patterns: dict[str, re.Pattern[str]], text: str, language: str) -> bool:
    if not text or len(text) > 60:
        return False
    known = language_of(text, language) or "en"
    said = words(text)
    if known == "en":
        return len(said) <= MOST_WORDS and bool(patterns["en"].fullmatch(" ".join(said)))
    joined = "".join(said)
    if known == "zh":
        joined = joined.translate(TRADITIONAL)
    elif known == "ja" and patterns["ja"].fullmatch(STRETCH.sub("", joined)):
        return True
    return bool(patterns[known].fullmatch(joined))


def _pattern(phrases: str, language: str) -> re.Pattern[str]:
    """One to four of the phrases in a row."""
    one = "|".join(re.escape(item) for item in _longest_first(phrases, language))
    if language == "en":
        return re.compile(f"(?:{one})(?: (?:{one})){{0,{MOST_PHRASES - 1}}}")
    return re.compile(f"(?:{one}){{1,{MOST_PHRASES}}}")


def _longest_first(phrases: str, language: str) -> list[str]:
    if language == "en":
        items = [" ".join(item.split()) for item in phrases.replace("\n", ",").split(",")]
    else:
        items = ["".join(words(item)) for item in phrases.split()]
    return sorted(filter(None, items), key=len, reverse=True)


_CALLS = {language: re.compile(pattern) for language, pattern in CALLS.items()}
_ANSWERS = {language: _pattern(phrases, language) for language, phrases in ANSWERS.items()}
_BACKCHANNELS = {language: _pattern(items, language) for language, items in BACKCHANNELS.items()}
_PHRASES = {
    language: tuple(item + " " * (language == "en") for item in _longest_first(phrases, language))
    for language, phrases in BACKCHANNELS.items()
}
"""Each ends where its last word does."""
