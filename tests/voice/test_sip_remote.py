from voice.transports.sip.remote import MOVED_AFTER_S, SILENT_S, Remote

PHONE, MEDIA, STRANGER = "10.0.0.5", ("10.0.0.5", 4000), ("10.0.0.6", 4000)
NAT = ("10.0.0.5", 61_000)


def test_sound_goes_to_what_was_agreed_until_it_is_seen_where_it_comes_from() -> None:
    remote = Remote(PHONE, MEDIA, 0.0)
    assert remote.at(0.0) == MEDIA
    assert remote.admit(NAT, 1.0)
    remote.hear(NAT, 1.0)
    assert remote.at(1.0) == NAT


def test_where_nobody_answers_nothing_more_is_sent() -> None:
    remote = Remote(PHONE, MEDIA, 0.0)
    assert remote.at(SILENT_S - 0.1) == MEDIA
    assert remote.at(SILENT_S) is None


def test_without_an_address_to_believe_it_waits_for_the_caller() -> None:
    remote = Remote(PHONE, None, 0.0)
    assert remote.at(0.0) is None
    assert not remote.admit(STRANGER, 0.0)
    assert remote.admit(NAT, 0.0)
    remote.hear(NAT, 0.0)
    assert remote.at(0.0) == NAT


def test_a_stranger_is_counted_and_moves_nothing() -> None:
    remote = Remote(PHONE, MEDIA, 0.0)
    remote.hear(MEDIA, 0.0)
    assert not remote.admit(STRANGER, 100.0)
    assert remote.strangers == 1
    assert remote.at(100.0) == MEDIA


def test_another_port_of_the_caller_is_taken_once_the_old_one_fell_silent() -> None:
    remote = Remote(PHONE, MEDIA, 0.0)
    remote.hear(MEDIA, 1.0)
    assert not remote.admit(NAT, 1.0 + MOVED_AFTER_S / 2)
    assert remote.admit(NAT, 1.0 + MOVED_AFTER_S)


def test_after_a_move_that_was_told_the_old_place_is_forgotten() -> None:
    remote = Remote(PHONE, MEDIA, 0.0)
    remote.hear(NAT, 1.0)
    remote.agree(PHONE, MEDIA, 2.0)
    assert remote.at(2.0) == NAT, "the same again: what was seen holds"
    remote.agree("10.0.0.9", ("10.0.0.9", 5000), 3.0)
    assert remote.at(3.0) == ("10.0.0.9", 5000)
    assert not remote.admit(NAT, 3.0)


def test_reports_are_taken_from_where_the_sound_is_and_from_nobody_else() -> None:
    remote = Remote(PHONE, ("10.0.0.7", 4000), 0.0)
    assert remote.is_rtcp_from(("10.0.0.7", 4001)) and not remote.is_rtcp_from(STRANGER)
    remote.hear(NAT, 1.0)
    assert remote.is_rtcp_from((PHONE, 61_001)) and not remote.is_rtcp_from(("10.0.0.7", 4001))
    assert Remote(PHONE, None, 0.0).is_rtcp_from((PHONE, 9))
