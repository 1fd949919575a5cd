"""What the scripted conversations rest on: scripts, the tape, the loudspeaker, and each finding."""

import pytest

from mocks.clock import run_virtual
from providers.base import Hypothesis, SttFailure
from tests.conversations.answering import words_ending
from tests.conversations.findings import Finding, Kind, Measured, measure
from tests.conversations.script import Belief, Scenario, ScriptError, Turn, parse
from tests.conversations.stage import perform
from tests.conversations.tally import Tally
from tests.conversations.tape import Tape, TapeSTT, Word
from tests.driving import SILENT, SentEvent, pass_time

QUESTION = """
[a scene]  en  {detection}
  0.00   caller  what are your opening hours
         turn
         agent   {answer}
"""
ANSWER = "We are open from nine until eight. On Sundays we are closed."


def scene(rest: str = "", *, detection: str = "server 500", answer: str = ANSWER) -> Scenario:
    return parse(QUESTION.format(detection=detection, answer=answer) + rest, "trial")


def found(scenario: Scenario) -> set[Kind]:
    return {finding.kind for finding in measure(perform(scenario)).wrong}


# --- scripts --------------------------------------------------------------------------------------


def test_a_script_is_read_from_the_top_down() -> None:
    scenario = scene(
        "a+0.80 caller stop (0.30)\n hears +0.2 sto\n final +0.9 stop it\n turn <1.5\n"
    )
    stop = scenario.lines[1]
    assert (stop.when.anchor, stop.when.offset, stop.lasts) == ("a", 0.8, 0.3)
    assert stop.beliefs == (Belief(0.2, "sto"),)
    assert (stop.final_after, stop.final_text) == (0.9, "stop it")
    assert scenario.turns[1] == Turn(lines=(1,), ways=("stop it",), within=1.5)


@pytest.mark.parametrize(
    "line",
    [
        "0.5 singer la la",
        "soon caller hello",
        "turn",
        "hears what",
        "allows laziness 3",
        "+0.5 cough loudly",
    ],
)
def test_a_line_that_means_nothing_is_refused(line: str) -> None:
    with pytest.raises(ScriptError, match="a scene, line 5"):
        scene(line)


def test_a_line_cannot_hang_on_an_answer_that_is_not_there() -> None:
    with pytest.raises(ScriptError, match="nothing yet"):
        parse("[a scene] en server 500\n a+1.0 caller stop\n", "trial")


# --- tape -----------------------------------------------------------------------------------------


def heard(pcm: bytes, tape: Tape) -> list[str]:
    """Partials and the final of one utterance that is fed `pcm`."""
    texts: list[str] = []

    def sink(event: Hypothesis | SttFailure) -> None:
        assert isinstance(event, Hypothesis)
        texts.append(event.text + "." * event.is_final)

    async def listen() -> None:
        stream = TapeSTT(tape).open(sink)
        stream.begin(1)
        for start in range(0, len(pcm), 1000):
            stream.feed(pcm[start : start + 1000])
            await pass_time(1000 / 32_000)
        await pass_time(0.2)
        stream.end()
        await pass_time(0.2)
        stream.close()

    run_virtual(listen())
    return texts


def test_the_recogniser_hears_the_words_of_the_audio_it_is_fed() -> None:
    tape = Tape()
    one, gap, two = (
        tape.frame(words, quiet=False) for words in ([Word(0, "one")], [], [Word(0, "two")])
    )
    assert heard(one + gap + two, tape) == ["one", "one two", "one two."]
    assert heard(gap + SILENT + two, tape) == ["two", "two."]
    assert heard(SILENT, tape) == ["."]


def test_half_a_word_is_heard_once_wherever_the_audio_is_cut() -> None:
    tape = Tape()
    frame = tape.frame([Word(0, "one")], quiet=True)
    assert heard(frame[:200], tape) == ["."]
    assert heard(frame[200:], tape) == ["one", "one."]


def test_echo_has_the_words_whose_sound_has_been_played() -> None:
    assert words_ending("We are open.", 0, 130, "en") == ["We"]
    assert words_ending("We are open.", 130, 780, "en") == ["are", "open."]


# --- the stage ------------------------------------------------------------------------------------


def test_a_plain_conversation_has_no_findings() -> None:
    seen = perform(scene())
    measured = measure(seen)
    assert measured.wrong == []
    assert measured.ends_s == [pytest.approx(0.5, abs=0.001)]
    assert seen.answers[0].played_ms == pytest.approx(len(ANSWER) * 65, abs=1)
    assert seen.answers[0].silent_ms == 0


def test_a_line_waits_until_so_much_of_the_answer_has_been_heard() -> None:
    seen = perform(scene("a+1.00 caller stop\n turn\n", answer="We are open ‖ from nine to eight."))
    first = seen.answers[0].first_frame_at
    assert first is not None
    assert seen.placed[1].start == pytest.approx(first + 1.0, abs=0.03)


def test_a_line_that_waits_in_vain_is_a_finding() -> None:
    scenario = scene("z+9.0 caller hello\n turn\n")
    assert Kind.ANSWER not in found(scenario)
    lost = "0.0 caller a (0.3)\n hears +0.1 \n turn a\n agent x\n a+1 hum b\n"
    assert Kind.ANSWER in found(parse(f"[a scene] en server 500\n {lost}", "trial"))


# --- findings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "scenario"),
    [
        (
            Kind.EARLY,
            "[a scene] en server 300\n 0.0 caller one\n +0.5 caller two\n turn\n agent Yes.\n",
        ),
        (Kind.LATE, "[a scene] en server 1500\n 0.0 caller one\n turn\n agent Yes.\n"),
        (Kind.LOST, "[a scene] en server 500\n 0.0 caller one\n hears +0.1 \n turn\n agent Yes.\n"),
        (
            Kind.WORDS,
            "[a scene] en server 500\n 0.0 caller one\n final +0.0 won\n turn one\n agent Yes.\n",
        ),
        (
            Kind.EXTRA,
            "[a scene] en server 500\n 0.0 caller one\n turn\n agent Yes.\n z+0.8 hum and two\n",
        ),
    ],
)
def test_each_fault_of_a_turn_is_found(kind: Kind, scenario: str) -> None:
    assert kind in found(parse(scenario, "trial"))


def test_a_false_and_a_missed_barge_in_are_found() -> None:
    unwanted = scene("a+1.0 hum and where can I park my car\n")
    assert Kind.FALSE in found(unwanted)
    deaf = scene(
        "a+1.0 caller stop right now\n turn\n",
        detection="server 500 uninterruptible",
        answer="We are ‖ open from nine until eight. On Sundays we are closed.",
    )
    assert Kind.MISSED in found(deaf)


def test_an_answer_that_begins_over_the_caller_is_found() -> None:
    goes_on = "t+0.4 caller and where can I park my car then\n turn\n agent Here.\n"
    slow = "with llm.first_token=900\n"
    scenario = scene(goes_on + slow, detection="server 500 uninterruptible")
    assert Kind.OVER in found(scenario)


def test_a_wrong_memory_and_holes_in_the_answer_are_found() -> None:
    cut = perform(
        scene("a+1.0 caller stop\n turn\n", answer="We are open ‖ from nine until eight.")
    )
    assert Kind.HEARD not in {finding.kind for finding in measure(cut).wrong}
    cut.answers[0].played_ms += 1500
    assert Kind.HEARD in {finding.kind for finding in measure(cut).wrong}
    whole = perform(scene())
    whole.answers[0].silent_ms = 1200
    assert {finding.kind for finding in measure(whole).wrong} == {Kind.GAP}


def test_an_utterance_that_is_shown_and_never_ends_is_found() -> None:
    seen = perform(scene())
    began = {"type": "input_audio_buffer.speech_started", "item_id": "item_nobody"}
    seen.call.client.log.append(SentEvent(9.0, began))
    assert {finding.kind for finding in measure(seen).wrong} == {Kind.EXTRA}


def test_what_a_scene_allows_is_counted_and_is_not_wrong() -> None:
    script = "[a scene] en server 300\n 0.0 caller one\n +0.5 caller two\n turn\n agent Yes.\n"
    measured = measure(perform(parse(script + "allows early 1\n", "trial")))
    assert [finding.is_allowed for finding in measured.findings] == [True]


def test_the_table_has_a_line_for_each_kind_and_one_for_all() -> None:
    tally = Tally()
    assert tally.lines() == []
    early = [Finding(Kind.EARLY, "", True), Finding(Kind.EARLY, ""), Finding(Kind.HEARD, "")]
    tally.add("pauses", Measured(2, early, [0.5, 0.7], []))
    tally.add("echo", Measured(1, [Finding(Kind.FALSE, "")], [], [0.04]))
    cells = [line.split() for line in tally.lines()[1:4]]
    assert cells == [
        ["echo", "1", "1", "0", "0", "1", "0", "0", "-", "40", "40"],
        ["pauses", "1", "2", "2", "(1)", "0", "0", "0", "1", "700", "700", "-"],
        ["all", "2", "3", "2", "(1)", "0", "1", "0", "1", "700", "700", "40", "40"],
    ]


def test_the_microphone_gives_back_what_the_loudspeaker_played() -> None:
    echo = "0.0 echo loud 120 open=hoping\n 0.0 caller one\n turn\n agent We are open now.\n"
    seen = perform(parse(f"[a scene] en server 500 uninterruptible\n {echo}", "trial"))
    assert isinstance(seen.call.stt, TapeSTT)
    assert seen.call.stt.finals[:2] == ["one", "we are hoping now"]
