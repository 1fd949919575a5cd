"""Which language's rules a text is for, and its words, in any script."""

import re
import unicodedata

KANA = re.compile(r"[\u3041-\u30ff]")
HANGUL = re.compile(r"[\uac00-\ud7af]")
HAN = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
LATIN = re.compile(r"[A-Za-z]")
CHARACTER = r"\u3005-\u3007\u3041-\u30fa\u30fc-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{CHARACTER}]|[^\W_{CHARACTER}]+(?:['’][^\W_{CHARACTER}]+)*")


def normal(text: str) -> str:
    """One spelling of full-width and half-width forms, lower case, no space at the ends."""
    return unicodedata.normalize("NFKC", text).strip().lower()


def words(text: str) -> list[str]:
    """Words without punctuation; of Chinese, Japanese and Korean each character is one."""
    if text.isascii():
        return _WORD.findall(text.lower())
    return _WORD.findall(normal(text).replace("’", "'"))


def language_of(text: str, language: str) -> str:
    """Returns:
    en, ja, ko or zh: `language`, where the text is written in its script, else the script's own;
    "" where there are no rules for it.
    """
    primary = language.replace("_", "-").split("-")[0].lower()
    if text.isascii():
        scripts = {"en"} if LATIN.search(text) else set()
    elif HANGUL.search(text):
        scripts = {"ko"}
    elif KANA.search(text):
        scripts = {"ja"}
    elif HAN.search(text):
        scripts = {"zh", "ja"}
    else:
        scripts = {"en"} if LATIN.search(text) else set()
    if primary in ("yue", "cmn"):
        primary = "zh"
    if primary in scripts or not scripts:
        return primary if primary in ("en", "ja", "ko", "zh") else ""
    if scripts == {"en"}:
        return "en" if primary in ("", "ja", "ko", "zh") else ""
    return "zh" if "zh" in scripts else scripts.pop()
