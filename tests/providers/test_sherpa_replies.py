import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers._sherpa_replies import Casing, Progress, Transcript, joined


def heard(*messages: str | bytes) -> Transcript:
    transcript = Transcript()
    for message in messages:
        transcript.receive(message.encode() if isinstance(message, str) else message)
    return transcript


def test_text_grows_within_a_segment_and_goes_on_in_the_next() -> None:
    transcript = heard(
        '{"text": " HELLO", "segment": 0}',
        '{"text": " HELLO THERE", "segment": 0}',
        '{"text": "", "segment": 1}',
        '{"text": " HOW", "segment": 1}',
    )
    assert transcript.text == "HELLO THERE HOW"
    assert transcript.progress is Progress.LISTENING and not transcript.is_cpp


def test_empty_segments_leave_no_trace() -> None:
    silence = ['{"text": "", "segment": 0}', '{"text": "", "segment": 4}']
    assert heard(*silence, '{"text": "yes", "segment": 5}').text == "yes"


def test_a_final_segment_ends_even_where_its_number_does_not_grow() -> None:
    transcript = heard(
        '{"text": "hello", "segment": 0, "is_final": true, "is_eof": false}',
        '{"text": "you", "segment": 0, "is_final": false, "is_eof": false}',
    )
    assert transcript.text == "hello you" and transcript.is_cpp


def test_is_eof_completes_the_transcript() -> None:
    transcript = heard('{"text": "hello", "segment": 0, "is_final": true, "is_eof": true}')
    assert (transcript.text, transcript.progress) == ("hello", Progress.COMPLETE)


def test_done_completes_it_only_behind_is_eof_for_it_may_overtake_the_last_text() -> None:
    last = '{"text": "hello you", "segment": 0, "is_final": true, "is_eof": true}'
    assert heard("Done!").progress is Progress.ANSWERED
    assert heard("Done!", last).progress is Progress.COMPLETE
    assert heard(last, "Done!").progress is Progress.COMPLETE
    assert heard("Done!", last).text == "hello you"


def test_scripts_without_spaces_are_joined_without() -> None:
    assert joined(["今日は", "いい天気。", "OK", "すぐ"]) == "今日はいい天気。OKすぐ"
    assert joined(["안녕", "하세요"]) == "안녕 하세요"
    assert joined(["good ", " morning"]) == "good morning"


def test_word_marks_of_models_become_spaces() -> None:
    assert joined(["\u2581go\u2581od", "\u2581day"]) == "go od day"


def test_a_model_that_knows_capitals_only_is_written_small() -> None:
    casing = Casing()
    assert casing.apply("今日 HELLO THERE") == "今日 hello there"


def test_a_model_that_knows_small_letters_is_left_as_it_writes() -> None:
    casing = Casing()
    assert casing.apply("Hello") == "Hello"
    assert casing.apply("OK") == "OK"


def test_half_letters_of_byte_level_models_are_dropped_until_they_are_whole() -> None:
    half = b'{"text": "caf' + "é".encode()[:1] + b'", "segment": 0}'
    assert heard(half).text == "caf"
    assert heard(half, '{"text": "café", "segment": 0}').text == "café"


def test_half_letters_in_fields_we_do_not_read_do_no_harm() -> None:
    assert heard(b'{"text": "yes", "tokens": ["\xe4\xbd"], "segment": 0}').text == "yes"


@pytest.mark.parametrize("message", [b"", b"{", b"[]", b'{"segment": 0}', b'{"text": 3}', b"\xff"])
def test_what_is_no_reply_is_refused_and_not_shown_since_it_may_be_the_callers(
    message: bytes,
) -> None:
    with pytest.raises(ValueError, match="no reply of a sherpa-onnx streaming server"):
        heard(message)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_reply_or_a_value_error(message: bytes) -> None:
    transcript = Transcript()
    try:
        transcript.receive(message)
    except ValueError as error:
        assert len(str(error)) < 500
