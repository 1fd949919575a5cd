"""What a validation found wrong, in words for whoever sent it rather than for who wrote the types.

Expected `int | null`, got `str` - at `$.audio.rate`   ("audio.rate", "must be a whole number …")
"""

import re

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
_GOT = {**_KINDS, "float": "a fraction"}
_WRONG_KIND = re.compile(r"Expected `([a-z |]+)`, got `([a-z]+)`")
_MISSING = re.compile(r"Object missing required field `(.+)`")
_OUT_OF_RANGE = re.compile(r"Expected `\w+` ([<>]=? \S+)")
_NO_SUCH = re.compile(r"Invalid (?:enum )?value (.+)")


def wording(error: Exception) -> tuple[str, str]:
    """Returns:
    (path, what) of a `msgspec.ValidationError`; the path is empty where the whole is wrong, and
    of a missing field it is where that should be. `what` reads on from the path.
    """
    text, _, path = str(error).partition(" - at `$")
    path = path.rstrip("`").lstrip(".")
    if missing := _MISSING.fullmatch(text):
        return f"{path}.{missing[1]}".lstrip("."), "is missing"
    if wrong := _WRONG_KIND.fullmatch(text):
        wanted = " or ".join(_KINDS.get(kind, kind) for kind in wrong[1].split(" | "))
        return path, f"must be {wanted}, not {_GOT.get(wrong[2], wrong[2])}"
    if out_of_range := _OUT_OF_RANGE.fullmatch(text):
        return path, f"must be {out_of_range[1]}"
    if no_such := _NO_SUCH.fullmatch(text):
        return path, f"cannot be {no_such[1]}"
    return path, f"cannot be: {text}"
