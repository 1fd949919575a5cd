"""Answers in the words of the retrieved passages: no model, no key, no invention.

    question, passages -> sentences -> the one that accounts for most of the question's words
                                       + the neighbour it leans on ("After that it costs ...")

It cannot combine documents or calculate; what it says stands in the documents, word for word.
"""

import asyncio
import re
from collections.abc import AsyncGenerator

import msgspec

from providers._extractive_quote import quote
from providers.base import Finish, LLMEvent, LLMRequest, ProviderInfo, Slot, TextDelta
from rag.sentences import CJK_CHARACTER

_PIECE = re.compile(
    rf"\s*(?:(?:{CJK_CHARACTER.pattern}){{1,4}}|[^\s]+?(?=\s|{CJK_CHARACTER.pattern}|$))"
)


class _Words(msgspec.Struct, frozen=True):
    """What is said where no passage is quoted."""

    unknown: str
    unheard: str
    hello: str
    thanks: str
    goodbye: str
    self: str


_WORDS = {
    "en": _Words(
        "I don't know that. I can only tell you what is in my documents.",
        "Sorry, I did not catch that. Could you say it again?",
        "Hello! What would you like to know?",
        "You're welcome.",
        "Goodbye!",
        "I am a voice assistant. Ask me something, and I will look it up in my documents.",
    ),
    "ja": _Words(
        "それは分かりません。手元の資料に書かれていることだけ、お答えできます。",
        "すみません、聞き取れませんでした。もう一度お願いします。",
        "こんにちは。何をお調べしましょうか。",
        "どういたしまして。",
        "さようなら。",
        "音声アシスタントです。ご質問いただければ、資料からお答えします。",
    ),
    "ko": _Words(
        "그건 모르겠습니다. 제가 가진 문서에 있는 내용만 알려 드릴 수 있습니다.",
        "죄송합니다, 잘 듣지 못했습니다. 다시 말씀해 주시겠어요?",
        "안녕하세요! 무엇이 궁금하신가요?",
        "천만에요.",
        "안녕히 가세요.",
        "저는 음성 도우미입니다. 질문하시면 문서에서 찾아 드립니다.",
    ),
    "zh": _Words(
        "这个我不知道。我只能告诉您文档里写到的内容。",
        "对不起，我没有听清。请再说一遍好吗？",
        "您好！您想了解什么？",
        "不客气。",
        "再见！",
        "我是语音助手。您可以提问，我会在文档里查找答案。",
    ),
}

# Matched against the whole utterance, so that "hello, when are you open" is a question.
_SMALL_TALK = tuple(
    (name, re.compile(rf"(?:{pattern})[\s.!?。！？,、]*$", re.IGNORECASE))
    for name, pattern in (
        (
            "hello",
            r"(?:(?:well |oh )?(?:hello|hi|hey|good (?:morning|afternoon|evening|day)|howdy)"
            r"(?: there| again| everybody)?[\s,.!]*)+(?:how are you(?: doing)?(?: today)?)?"
            r"|how are you(?: doing)?(?: today)?"
            r"|こんにち[はわ]|おはよう(?:ございます)?|こんばんは|もしもし"
            r"|안녕(?:하세요|하십니까)?|여보세요|[你您]好|早上好|喂",
        ),
        (
            "thanks",
            r"(?:ok(?:ay)? |great |no )?(?:thanks?|thank you)"
            r"(?: a lot| so much| very much| for .{1,30})?"
            r"|(?:どうも)?ありがとう(?:ございま(?:す|した))?"
            r"|감사합니다|고마워요?|고맙습니다|谢谢[你您]?|多谢",
        ),
        (
            "goodbye",
            r"(?:ok(?:ay)? )?(?:thanks? |thank you )?"
            r"(?:good ?bye|bye(?: bye)?|see you(?: later| soon)?"
            r"|have a (?:nice|good) day)|さようなら|失礼します|バイバイ|안녕히 계세요|再见|拜拜",
        ),
        (
            "self",
            r"(?:and )?(?:who|what) are you|what(?:'s| is) your name|what can you do(?: for me)?"
            r"|can you help me|あなたは(?:誰|だれ)(?:ですか)?|お名前は(?:何ですか)?"
            r"|누구(?:세요|십니까)|[你您]是谁",
        ),
    )
)


class ExtractiveLLM:
    """Implements `providers.base.LLM`."""

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(slot=Slot.LLM, provider="extractive")

    async def start(self) -> None:
        """Nothing to load."""

    async def check(self) -> None:
        """It needs nothing that could be missing."""

    async def aclose(self) -> None:
        """Nothing to give back."""

    async def stream(self, request: LLMRequest) -> AsyncGenerator[LLMEvent, None]:
        """The answer word by word. `max_tokens` counts these pieces; tools are never called."""
        answer = await asyncio.to_thread(_answer, request)
        for said, piece in enumerate(_PIECE.findall(answer)):
            if request.max_tokens is not None and said >= request.max_tokens:
                yield Finish("length")
                return
            yield TextDelta(piece)
        yield Finish("stop")


def _answer(request: LLMRequest) -> str:
    question = request.question.strip() or _last_words_of_user(request)
    words = _WORDS[_language(request.language, question)]
    if not question:
        return words.unheard
    for name, pattern in _SMALL_TALK:
        if pattern.match(question):
            return str(getattr(words, name))
    return quote(question, request.passages) or words.unknown


def _last_words_of_user(request: LLMRequest) -> str:
    spoken = (m.content for m in reversed(request.messages) if m.role == "user")
    return next(spoken, "").strip()


def _language(tag: str, question: str) -> str:
    asked = tag.lower().replace("_", "-").split("-")[0]
    if asked in _WORDS:
        return asked
    if re.search("[\u3040-\u30ff]", question):
        return "ja"
    if re.search("[\u1100-\u11ff\u3130-\u318f\uac00-\ud7af]", question):
        return "ko"
    return "zh" if re.search("[\u4e00-\u9fff]", question) else "en"
