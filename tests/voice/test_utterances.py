"""What the client is told of the caller's words: once each, in order, stable parts first."""

from typing import Any

from voice import settings, wire
from voice.conversation import Conversation
from voice.ids import Ids
from voice.utterances import Utterances


class Told:
    def __init__(self, **session: Any) -> None:
        self.events: list[wire.ServerEvent] = []
        self.conversation = Conversation()
        effective = settings.initial("sess_1", settings.Defaults())
        self.settings = settings.typed(settings.merge(effective, session))
        self.utterances = Utterances(
            ids=Ids("x"),
            conversation=self.conversation,
            settings=lambda: self.settings,
            send=self.events.append,
        )

    def take(self) -> list[str]:
        told = [str(type(event).__struct_config__.tag).rsplit(".", 1)[-1] for event in self.events]
        self.events.clear()
        return told


def test_an_utterance_becomes_an_item_when_it_is_committed() -> None:
    told = Told()
    told.utterances.begin(1, 1600)
    told.utterances.announce(1)
    (started,) = told.events
    assert isinstance(started, wire.SpeechStartedEvent) and started.audio_start_ms == 100
    assert len(told.conversation) == 0
    told.utterances.commit(1, 32_000, detected=True)
    stopped, committed = told.events[1], told.events[2]
    assert isinstance(stopped, wire.SpeechStoppedEvent) and stopped.audio_end_ms == 2000
    assert isinstance(committed, wire.Committed)
    assert started.item_id == stopped.item_id == committed.item_id == told.conversation.last_id
    assert told.take() == ["speech_started", "speech_stopped", "committed", "added", "done"]


def test_an_utterance_the_client_ended_has_no_speech_stopped() -> None:
    told = Told()
    told.utterances.begin(1, 0)
    told.utterances.commit(1, 16_000, detected=False)
    assert told.take() == ["committed", "added", "done"]


def test_beginning_again_changes_nothing() -> None:
    told = Told()
    told.utterances.begin(1, 0)
    item_id = told.utterances.item_id(1)
    told.utterances.begin(1, 9999)
    assert told.utterances.item_id(1) == item_id


def test_deltas_are_what_two_partials_agree_on_and_the_final_brings_the_rest() -> None:
    told = Told(include=["kaiwa.transcript.partial"])
    told.utterances.begin(1, 0)
    for text in ("what", "what are", "what are your", "what are you open"):
        told.utterances.show(1, text)
    told.utterances.commit(1, 16_000, detected=True)
    told.utterances.understood(1, "what are your hours")
    deltas = [event.delta for event in told.events if isinstance(event, wire.TranscriptionDelta)]
    assert deltas == ["what", " are", " your hours"]
    partials = [event for event in told.events if isinstance(event, wire.PartialTranscript)]
    assert partials[-1].text == "what are you open"
    assert partials[-1].text[: partials[-1].stable_chars] == "what are"
    done = told.events[-1]
    assert isinstance(done, wire.TranscriptionCompleted)
    assert (done.transcript, done.usage.seconds) == ("what are your hours", 1.0)


def test_without_transcription_the_client_gets_no_words_but_the_model_does() -> None:
    told = Told(audio={"input": {"transcription": None}})
    told.utterances.begin(1, 0)
    told.utterances.show(1, "hello")
    told.utterances.commit(1, 16_000, detected=False)
    told.utterances.understood(1, "hello")
    assert told.take() == ["committed", "added", "done"]
    assert [message.content for message in told.conversation.messages()] == ["hello"]


def test_late_partials_of_an_utterance_that_was_followed_are_not_shown() -> None:
    told = Told(include=["kaiwa.transcript.partial"])
    told.utterances.begin(1, 0)
    told.utterances.commit(1, 16_000, detected=False)
    told.utterances.begin(2, 16_000)
    told.take()
    told.utterances.show(1, "late")
    assert told.take() == []
    told.utterances.understood(1, "late words")
    assert told.take() == ["completed"]


def test_a_lost_utterance_says_what_to_do() -> None:
    told = Told()
    told.utterances.begin(1, 0)
    told.utterances.commit(1, 16_000, detected=False)
    told.utterances.misheard(1)
    failed = told.events[-1]
    assert isinstance(failed, wire.TranscriptionFailed)
    assert failed.error.code == "stt_failed" and "again" in failed.error.message


def test_what_is_forgotten_is_gone() -> None:
    told = Told()
    told.utterances.begin(1, 0)
    told.utterances.forget(1)
    told.utterances.forget(1)
    assert told.utterances.item_id(1) is None
