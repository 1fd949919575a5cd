"""Whether Japanese words make a whole. Recognisers write neither 。 nor spaces one can rely on:
what ends a sentence is its last form, and what goes on ends in a particle or a joining form."""

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
        を に へ は が も の や と で し り くて って て んで ながら たり とか より など という
        といった について に関して に対して として によって ための たくて なくて けれど _でも ても
        それで そして それから あと また または もしくは あるいは だから なので つまり すると
        ところが ところで しかし ただ ですから たとえば 例えば もし _で では じゃあ 確か 一緒に
        _この _どの こういう そういう どういう ような みたいな 来週の 今週の 私の 新しい 古い
        大きな 小さな""",
        FILLER: """
        えっと ええと えと えーと えーっと えっとですね _あの _あのう 実はですね えーっとですね
        えーとですね あのですね そのー まあ うーん うん えー んー ん なんか なんていうか
        なんというか なんだろう _その そうですね ほら ていうか""",
        OPEN: """
        ので から たら ば なら けど けども だけど けれども ですが ますが たが 場合 とき 時は
        たところ ところ ため ために たあと た後 前に うちに たいと のが ほうが まで ぐらい くらい
        まず じゃなくて ではなくて いただいて もらって""",
        SOFT: """
        曜日で たいんですけど たいんですが たいのですが たいですけど んですけど んですが のですが
        のに けどね だけ くれて 何か 誰か いつか どこか なかなか""",
        UNSURE: """
        本当に さっき 行くの 来るの するの いるの あるの ないの 今から 今日から 明日から
        なんて""",
        CLAUSE: """
        る う く す つ ぬ む ぶ ぐ た だ い か な ね いつ どこ 誰 だれ 何 なに 何時 いくら 幾ら
        どれ どっち 待って ておいて 待っててね 教えて やめて 止めて 助けて 見せて もう一度言って
        聞いて いらない もういい 結構 人 名 円 日 月 どうして なぜ いかが 大丈夫 はい
        申し訳ない""",
        FINAL: """
        です ます ました でした ません ませんでした ですか ますか ましたか ませんか でしょうか
        ましょうか ましょう ください 下さい お願いします お願いいたします お願い ですね ですよ
        ますね ますよ ましたね ですよね ますよね んだよ だよ だよね だね よ よね わ ぞ かな かしら
        っけ のか んだ んです のです でしょう だろう かもしれない かもしれません と思います
        と申します ありがとう ありがとうございます すみません ごめんなさい わかった 分かった
        知らない じゃない ない たい かった なかった さようなら いいよ ちょうだい もらえる くれる
        できない ですかね ますかね たいな ないかな していい てもいい なの""",
    },
    of_words=False,
)
WHETHER = re.compile(r"(?:です|ます|した|せん|ん|の|い|る|う|た|しょう)か$")
"""A か that asks; behind a noun it is an "or": 午前中か…"""
ASKING_NO = re.compile(r"[いるたなうくす]の$")
"""Behind a verb or an adjective の asks, behind a noun it wants another one."""
ASKS = re.compile(r"何|いつ|どこ|だれ|誰|いくら|どう|なぜ|どれ|どちら|どんな")
STRETCH = re.compile(r"[ー〜～っッ]+$")
SPACE = re.compile(r"\s+")

DIGITS = {c: str(n) for n, c in enumerate("零一二三四五六七八九")} | {
    "〇": "0", "ゼロ": "0", "まる": "0", "れい": "0", "いち": "1", "に": "2", "さん": "3",
    "よん": "4", "ご": "5", "ろく": "6", "なな": "7", "しち": "7", "はち": "8", "きゅう": "9",
    "きゅー": "9",
}  # fmt: skip
DIGIT = "|".join([*sorted(DIGITS, key=len, reverse=True), r"\d"])
FIGURES = re.compile(rf"(?:{DIGIT}|[-‐−ーの\s])+$")
FIGURE = re.compile(DIGIT)
AMBIGUOUS = frozenset("にごの -ー")
KINDS = (
    ("card", re.compile(r"カード.{0,8}$")),
    ("post", re.compile(r"郵便番号.{0,4}$")),
    ("pin", re.compile(r"(?:暗証番号|認証コード|確認コード).{0,4}$")),
    ("id", re.compile(r"マイナンバー.{0,4}$")),
    ("phone", re.compile(r"(?:電話|携帯|ケータイ).{0,8}$")),
    ("phone", re.compile(r"^(?:私の)?番号[はが]$")),
    ("number", re.compile(r"番号.{0,4}$")),
)


def score(text: str) -> float:
    """How complete the text sounds, 0 to 1; see voice/completeness_scale.py."""
    dictated = _dictated(text[-60:])
    if dictated is not None:
        return dictated
    bare = SPACE.sub("", text[-60:])
    found = ending(bare, ENDINGS)
    unstretched = STRETCH.sub("", bare)
    if unstretched != bare and unstretched:
        stretched = ending(unstretched, ENDINGS)
        if found is None or (stretched is not None and stretched[1] < found[1]):
            found = stretched
    if found is None:
        return UNSURE
    which, value = found
    if which == "か" and not WHETHER.search(bare):
        return OPEN
    if which in ("の", "は") and len(bare) > 2 and ASKS.search(bare):
        return FINAL if ASKING_NO.search(bare) else SOFT
    if value == CLAUSE and ASKS.search(bare):
        return FINAL
    return value


def _dictated(text: str) -> float | None:
    run = FIGURES.search(text)
    if run is None or not set(run[0]) - AMBIGUOUS:
        return None
    start = run.start() + len(run[0]) - len(run[0].lstrip("の -ー"))
    figures, before = text[start:], text[:start].replace(" ", "")
    pieces = FIGURE.findall(figures)
    digits = "".join(DIGITS.get(piece) or str(int(piece)) for piece in pieces)
    groups = len(figures.replace("の", " ").replace("-", " ").split())
    spoken = not any(piece.isdecimal() for piece in pieces)
    found = dictation_of(before, digits, groups, is_spoken=spoken, kinds=KINDS, language="ja")
    return DANGLING if found is not None and figures.rstrip().endswith("の") else found
