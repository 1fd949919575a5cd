"""What the agent says unasked: a greeting, a word into a long silence, the last words of a call.

    opened   greeting  ...talk...  idle_after   "are you still there?"  ...  max_call: announced,
    |------->|                     |----------->|                            then the call ends

It speaks only where nobody else does. Who says one of the `hang_up_phrases` and nothing else gets a
goodbye for an answer, and may still cut it off and go on; a call that has lasted too long may not.
"""

from math import inf

from msgspec import Struct

from voice.hang_up import is_hang_up

GREET_AFTER_S = 1.0
"""A client that tells us nothing first is greeted so long after it connected: its audio format may
still be on its way."""
GRACE_S = 15.0
"""So long a call that is over waits for a pause to say so, and for the end of its last words."""

GOODBYE = "the caller said goodbye"
TIME_OVER = "the call has lasted as long as it may"


class InitiativeRules(Struct, frozen=True, kw_only=True):
    greeting: str = ""
    idle_after_s: float = 0.0
    """Behind the agent's last word; 0: never."""
    idle_phrase: str = ""
    idle_prompts: int = 2
    """So many in a row, without a word of the caller's between them."""
    max_call_s: float = 0.0
    time_over: str = ""
    hang_up_phrases: tuple[str, ...] = ()
    goodbye: str = ""


class Say(Struct, frozen=True):
    text: str


class HangUp(Struct, frozen=True):
    why: str


class Initiative:
    """One call's. `rules` may be replaced at any time; `deadline` says when `tick` is due."""

    def __init__(self, rules: InitiativeRules) -> None:
        self.rules = rules
        self._opened_at = inf
        self._greets_at = inf
        self._quiet_since = inf
        self._prompts = 0
        self._spoken = False
        self._why = ""
        self._last_words = ""

    def open(self, now: float) -> None:
        self._opened_at = now
        if self.rules.greeting:
            self._greets_at = now + GREET_AFTER_S

    def client_is_ready(self, now: float) -> None:
        """It has told its settings, or sends audio."""
        if self._greets_at < inf:
            self._greets_at = min(self._greets_at, now)

    @property
    def watches(self) -> bool:
        """Whether time may bring anything."""
        rules = self.rules
        waits = self._greets_at < inf or bool(self._why)
        return waits or rules.idle_after_s > 0 or rules.max_call_s > 0

    def understood(self, text: str) -> None:
        """The caller's words, of one turn."""
        if not text or self._is_over:
            return
        self._prompts, self._why, self._last_words = 0, "", ""
        if is_hang_up(text, self.rules.hang_up_phrases):
            self._why, self._last_words = GOODBYE, self.rules.goodbye

    def answers(self) -> str:
        """The agent begins to speak: what it says instead of an answer; "": the answer."""
        self._spoken = True
        words, self._last_words = self._last_words, ""
        return words

    def was_cut(self) -> None:
        """The caller has more to say."""
        if not self._is_over:
            self._why = self._last_words = ""

    @property
    def _is_over(self) -> bool:
        return self._why == TIME_OVER

    # --- time -------------------------------------------------------------------------------------

    def deadline(self) -> float | None:
        if not self.watches:
            return None
        due = min(self._greets_at, self._idle_at)
        if self._why and self._quiet_since < inf:
            due = min(due, self._quiet_since)
        if self.rules.max_call_s:
            ends_at = self._opened_at + self.rules.max_call_s
            due = min(due, ends_at + GRACE_S if self._is_over else ends_at)
        return None if due == inf else due

    @property
    def _idle_at(self) -> float:
        idles = self.rules.idle_after_s and self._spoken and not self._why
        if not idles or self._prompts >= self.rules.idle_prompts:
            return inf
        return self._quiet_since + self.rules.idle_after_s

    def tick(self, now: float, *, quiet: bool) -> Say | HangUp | None:
        """Args:
        quiet: Nobody speaks, and nobody is waited for.
        """
        self._quiet_since = min(self._quiet_since, now) if quiet else inf
        if self.rules.max_call_s and now >= self._opened_at + self.rules.max_call_s - 1e-6:
            if now >= self._opened_at + self.rules.max_call_s + GRACE_S - 1e-6:
                return HangUp(TIME_OVER)
            if not self._is_over:
                self._why, self._last_words = TIME_OVER, self.rules.time_over
        if now >= self._greets_at - 1e-6:
            self._greets_at = inf
            if quiet and not self._why:  # who speaks first needs no greeting
                return Say(self.rules.greeting)
        if not quiet:
            return None
        if self._why:
            return Say(self._last_words) if self._last_words else HangUp(self._why)
        if now >= self._idle_at - 1e-6:
            self._prompts += 1
            return Say(self.rules.idle_phrase)
        return None
