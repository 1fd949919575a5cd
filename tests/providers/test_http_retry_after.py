import pytest

from providers._http import retry_after_s

DATE = "Sat, 21 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "3"}, 3.0),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "20", "retry-after-ms": "250"}, 0.25),
        ({"Retry-After": "1", "retry-after-ms": "soon"}, 1.0),
        ({"Retry-After": "Sat, 21 Nov 2026 10:00:05 GMT", "Date": DATE}, 5.0),
        ({"Retry-After": "Sat, 21 Nov 2026 09:00:00 GMT", "Date": DATE}, 0.0),
        ({"Retry-After": "Sat, 21 Nov 2026 10:00:05 GMT"}, float("inf")),
        ({"Retry-After": "soon", "Date": DATE}, float("inf")),
    ],
)
def test_a_server_may_say_when_in_every_form(headers: dict[str, str], seconds: float) -> None:
    assert retry_after_s(headers) == seconds
