"""The settings of a conversation: whose turn it is, how an answer is given, what the agent says."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from voice.config_kinds import Milliseconds, Seconds


class TurnConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "auto"
    """Who listens with semantic_vad whether a pause sounds like the end; auto: smart-turn where
    there is a `model`, else none."""
    model: str = "models/turn"
    """An ONNX file of Smart Turn v3, or a folder that holds one."""
    silence_ms: Annotated[int, Meta(ge=50, le=10_000)] = 500
    """Silence that ends a turn, where the client sets none."""
    min_silence_ms: Annotated[int, Meta(ge=100, le=10_000)] = 200
    max_silence_ms: Annotated[int, Meta(ge=100, le=10_000)] = 3000
    """Bounds of the silence with semantic_vad, where the words and the caller's own pauses say how
    long it is; its eagerness chooses within them."""
    final_after_ms: Milliseconds = 200
    """Silence after which the recogniser is asked for its final."""
    final_limit_s: Seconds = 2.0
    max_utterance_s: Seconds = 60.0
    stall_s: Seconds = 1.5
    """In mid-speech, no audio for so long ends the turn."""


class BargeInConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Speech over an answer holds its sound back at once; these say what becomes of it."""

    confirm_ms: Annotated[int, Meta(ge=0, le=10_000)] = 600
    """Speech that is so long cuts the answer; without a word twice that, once the recogniser has
    shown words while they were spoken; 0: any speech does, at once."""
    confirm_hypotheses: Annotated[int, Meta(ge=1, le=10)] = 2
    """So many partials in a row that begin alike, with words that take the floor, cut it sooner; a
    final does alone. A recogniser's first guess at a cough is often a word."""
    echo_likeness: Annotated[float, Meta(ge=0.1, le=1)] = 0.5
    """Sound that is so much like what is being played, from 0 to 1, is our own voice, whatever its
    words; 1: only words tell."""
    far_db: Annotated[float, Meta(ge=0, le=60)] = 18.0
    """Speech that is so much quieter than the caller's own turns is somebody else in the room, and
    does not cut the answer; 0: it does."""
    resume_ms: Annotated[int, Meta(ge=100, le=10_000)] = 1000
    """So long after the caller fell silent the answer goes on, if no final came by then. One that
    comes later, within turn.final_limit_s, still cuts it."""


class SpeculationConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The answer is begun in the silence that may end the turn; heard is nothing of it before."""

    enabled: bool = True
    attempts: Annotated[int, Meta(ge=1, le=10)] = 2
    """In one turn."""
    stable_ms: Annotated[int, Meta(ge=0, le=10_000)] = 150
    """Where the final is late: a partial that stays as it is for so long is taken for it."""
    ahead_ms: Annotated[int, Meta(ge=0, le=10_000)] = 600
    """Not sooner before the end of the turn: who is given long to go on, goes on."""
    longest_s: Seconds = 10.0
    """Not for a caller who has spoken longer."""
    retrieval: bool = True
    """Passages are looked for while the caller speaks."""
    least_hit_rate: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """Of the last 50 attempts; below it none is made, until what they would have hit is more."""
    deepest_queue: Annotated[int, Meta(ge=0, le=1000)] = 0
    """Not while more requests wait for a model's or a voice's place, where the provider tells."""
    paid: bool = False
    """Also where the model or the voice costs money: what is thrown away is paid for as well."""


class PlayoutConfig(Struct, frozen=True, forbid_unknown_fields=True):
    frame_ms: Annotated[int, Meta(ge=10, le=400)] = 40
    lead_ms: Milliseconds = 300
    """How far ahead of the caller's ear audio is sent."""


class AgentConfig(Struct, frozen=True, forbid_unknown_fields=True):
    instructions: str = ""
    """Plain text, taken as it is; empty: those of `prompt`."""
    prompt: str = "agent"
    """A template, in its current version, or agent@2 in that one; see voice/templates.py."""
    prompts_dir: str = ""
    """The operator's own folder of templates; empty: voice/prompts."""
    name: str = "Kaiwa"
    """A template's {{agent_name}}."""
    variables: dict[str, str] = {}
    """Further variables that a template declares."""
    max_reply_s: Seconds = 60.0
    """Speech of one answer; the rest is not said."""
    protected_ms: Milliseconds = 0
    """From an answer's first sound: what the caller says in there needs words to hold it back or to
    cut it. 1000 to 3000 where the microphone hears the loudspeaker."""
    greeting: str = ""
    """What the agent says when a call opens; empty: it waits for the caller."""
    idle_after_s: Annotated[float, Meta(ge=0, le=3600)] = 0
    """So long behind the agent's last word a silent caller is spoken to; 0: never. A client's
    `turn_detection.idle_timeout_ms` stands above it."""
    idle_phrase: str = ""
    """Empty: voice/phrases.py has one in the caller's language; so too for the two below."""
    idle_prompts: Annotated[int, Meta(ge=1, le=100)] = 2
    """So many in a row without a word of the caller's."""
    max_call_s: Annotated[float, Meta(ge=0, le=86_400)] = 0
    """Then the call is announced to end, and ends with close code 1000; 0: never."""
    time_over_phrase: str = ""
    hang_up_phrases: tuple[str, ...] = ()
    """Who says one of them, and nothing else, gets the goodbye, and the call ends."""
    goodbye_phrase: str = ""
    tools: tuple[Literal["hang_up", "transfer_call"], ...] = ()
    """What the model may do to the call by itself; transfer_call needs `telephony.transfer`."""
    hold_after_ms: Milliseconds = 2500
    """Silence behind the caller's last word, or in mid-answer, that is broken by a word; 0:
    never."""
