"""`OpenAI().realtime.calls` and `.client_secrets`, unmodified: a WebRTC call's offer over HTTP.

The offer comes from a file that the test has written; nobody connects to the answers.
"""

from typing import Any

from openai import BadRequestError, OpenAI  # type: ignore[import-not-found]  # in .venv-clients only
from scenarios import SPEECH, serve  # type: ignore[import-not-found]  # beside this script

OFFER = (SPEECH / "offer.sdp").read_text("utf-8")
TALKS = {"type": "realtime", "instructions": "Be brief."}


def _client(url: str, key: str = "none") -> Any:
    return OpenAI(api_key=key, base_url=f"{url}/v1", max_retries=0)


def _accepted(answer: Any) -> str:
    """The id of the call."""
    assert answer.response.status_code == 201
    assert answer.text.startswith("v=0") and "m=audio" in answer.text, answer.text
    place: str = answer.response.headers["location"]
    assert place.startswith("/v1/realtime/calls/rtc_"), place
    return place.rsplit("/", 1)[1]


def an_offer_alone_is_answered_and_the_call_hung_up(url: str) -> None:
    calls = _client(url).realtime.calls
    call_id = _accepted(calls.create(sdp=OFFER))
    calls.hangup(call_id)


def an_offer_comes_with_the_settings_of_its_session(url: str) -> None:
    calls = _client(url).realtime.calls
    calls.hangup(_accepted(calls.create(sdp=OFFER, session=TALKS)))


def a_secret_for_a_page_carries_the_settings_and_opens_a_call(url: str) -> None:
    secret = _client(url).realtime.client_secrets.create(session=TALKS)
    assert secret.value.startswith("ek_")
    assert secret.session.instructions == "Be brief."
    calls = _client(url, secret.value).realtime.calls
    calls.hangup(_accepted(calls.create(sdp=OFFER)))


def what_is_no_offer_is_refused_with_a_reason(url: str) -> None:
    try:
        _client(url).realtime.calls.create(sdp="v=0\r\n")
    except BadRequestError as error:
        assert error.body["message"], error.body
    else:
        raise AssertionError("it was answered")


SCENARIOS = {
    name: value
    for name, value in dict(globals()).items()
    if callable(value) and getattr(value, "__module__", "") == __name__ and name[0].islower()
}

if __name__ == "__main__":
    serve(SCENARIOS)
