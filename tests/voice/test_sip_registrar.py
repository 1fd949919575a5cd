"""Where the telephone system is that makes us its extension."""

import pytest

from voice.sip_registrar import split


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("fritz.box", ("fritz.box", 5060)),
        ("sip:pbx.local:5080", ("pbx.local", 5080)),
        ("192.168.1.1:5070", ("192.168.1.1", 5070)),
        ("[fd00::1]:5070", ("fd00::1", 5070)),
        ("[fd00::1]", ("fd00::1", 5060)),
        ("fd00::1", ("fd00::1", 5060)),
    ],
)
def test_a_registrar_may_bear_a_port(text: str, found: tuple[str, int]) -> None:
    assert split(text) == found


@pytest.mark.parametrize("text", [":5060", "sip:", "pbx:", "pbx:sip", "pbx:0", "pbx:65536", "p:٣"])
def test_one_without_a_name_or_with_a_port_that_is_none_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="no "):
        split(text)
