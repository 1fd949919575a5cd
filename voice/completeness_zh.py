"""Whether Chinese words make a whole, Mandarin in simplified or traditional characters."""

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

SIMPLE = str.maketrans(
    "嗎個這還從對為後問與虛過時說幫讓請電話號碼錢點樣麼誰幾裡裏應該會來開關門沒買賣現給條們於關東",
    "吗个这还从对为后问与虚过时说帮让请电话号码钱点样么谁几里里应该会来开关门没买卖现给条们于关东",
)
ENDINGS = endings(
    {
        DANGLING: """
        把 被 和 跟 与 或 或者 还是 以及 并且 而且 并 而 因为 所以 但是 但 可是 不过 然后 如果
        要是 虽然 尽管 在 从 给 向 往 为 为了 关于 比 比如 比如说 例如 就是 就 也 都 还 又 才 很
        太 非常 特别 最 更 比较 不 没 是 有 想 要 想要 需要 能 能不能 可不可以 是不是 会 请 请问
        我 你 他 她 我们 你们 他们 这 那 一个 一张 一些 这个 每 第 叫 说 问 帮 帮我 请帮我 让 我想
        我要 我叫 地 得 用 跟我 首先 其实 另外 还有 还有就是 我觉得 觉得 我想问一下 我想问 我是说
        主要是 我去 想去 之前 我先 先 再 由 对于 按照 根据 除了 只要 只有 不但 不仅 既然 无论 不管
        万一 其中 包括 叫做 等到""",
        FILLER: "嗯 呃 额 唔 那个 就是说 怎么说呢 怎么说 这个这个 那什么 啊这",
        OPEN: "的 的话 的时候 之后 以后 以前 时 时候 昨天 今天 明天 下个 上个 着 第一个",
        SOFT: "一起 那边 这边 到 对 会不会 您",
        UNSURE: "不好意思 过 个 两个 没有",
        CLAUSE: """
        点到 分到 半到 上 下 里 去 来 用卡 人 块 元 好 行 是我 不是 就这样 没到 收到 到了 找到
        等等 要这个 要那个 就要 也要 给你 给我 给他 告诉我 找你 找我 等你 等我""",
        FINAL: """
        吗 吧 呢 了 啊 呀 嘛 啦 哦 哈 谢谢 谢谢你 好的 是的 对的 可以 可以的 没事的 会的 行的 多少
        多少钱 什么 哪里 哪儿 几点 什么时候 怎么办 怎么走 不行 不要 不用 不会 不想 不能 不知道
        一下 一遍 再见 没问题 没关系 没有了 在哪 在哪里 为什么 怎么样 那你们呢 不是的 对不对
        好不好 行不行 是不是啊 有没有 还没有 在吗 就行 就好 这样 那样""",
    },
    of_words=False,
)
SUBORDINATE = re.compile(r"^(?:那|嗯|然后)?(?:如果|因为|虽然|要是|由于|既然|只要|等我|假如)")
MAIN_CLAUSE = re.compile(r".{2}(?:就|所以|但|可以|能|怎么|那么|会|吗|呢|也|还是|请|多少|什么)")
PREDICATE = re.compile(r"(?:有点|挺|很|太|真)[^的]")
CLEFT = re.compile(r"(?:是|都).{2,}[下买来去订看说做付收到写].?的$")
"""我是昨天下单的: 是 … 的 closes a sentence, another 的 wants its noun."""
ASKS = re.compile(r"什么|怎么|哪|几|多少|谁|为什么|(.)不\1|有没有")
SPACE = re.compile(r"\s+")

DIGITS = {c: str(n) for n, c in enumerate("零一二三四五六七八九")} | {"〇": "0", "幺": "1"}
FIGURES = re.compile(r"[零〇幺一二三四五六七八九\d\s-]+$")
KINDS = (
    ("card", re.compile(r"卡号?.{0,4}$")),
    ("post", re.compile(r"(?:邮编|邮政编码|邮递区号|郵遞區號).{0,3}$")),
    ("id", re.compile(r"身份证.{0,5}$")),
    ("pin", re.compile(r"(?:密码|验证码).{0,3}$")),
    ("phone", re.compile(r"(?:电话|手机).{0,5}$")),
    ("phone", re.compile(r"^(?:我的)?号码[是为]?$")),
    ("number", re.compile(r"(?:账号|单号|编号|号码|号)[是为]$")),
)


def score(text: str) -> float:
    """How complete the text sounds, 0 to 1; see voice/completeness_scale.py."""
    text = text.translate(SIMPLE)
    dictated = _dictated(text[-60:])
    if dictated is not None:
        return dictated
    bare = SPACE.sub("", text[-60:])
    found = ending(bare, ENDINGS)
    if found is not None and found[0] == "的" and CLEFT.search(bare):
        return CLAUSE
    if found is not None and found[1] < CLAUSE:
        return found[1]
    if (opening := SUBORDINATE.match(bare)) and not MAIN_CLAUSE.search(bare, opening.end()):
        return OPEN
    if ASKS.search(bare):
        return FINAL
    if found is not None:
        return found[1]
    return CLAUSE if len(bare) > 3 or PREDICATE.search(bare) else UNSURE


def _dictated(text: str) -> float | None:
    run = FIGURES.search(text)
    if run is None:
        return None
    digits = "".join(DIGITS.get(c, c) for c in run[0] if c in DIGITS or c.isdecimal())
    if not digits:
        return None
    before = text[: run.start()].replace(" ", "")
    spoken = not any(c.isdecimal() for c in run[0])
    groups = len(run[0].replace("-", " ").split())
    return dictation_of(before, digits, groups, is_spoken=spoken, kinds=KINDS, language="zh")
