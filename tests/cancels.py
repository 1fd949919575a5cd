"""How often tests of random cancels cancel; `make cancels` has all of them do so 2,000 times."""

import os


def cancels(few: int) -> int:
    """Args:
    few: As many as it takes to be worth it, where KAIWA_CANCELS sets no number.
    """
    return int(os.environ.get("KAIWA_CANCELS", few))
