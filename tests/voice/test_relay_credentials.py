import base64
import hashlib
import hmac

from voice.relay_credentials import credentials, ice_servers, links

URLS = ("stun:stun.example.com", "turn:turn.example.com?transport=udp", "turns:turn.example.com")


def test_a_login_is_signed_as_coturn_checks_it() -> None:
    given = credentials("north", "kaiwa", 1_700_000_000)
    assert given.username == "1700000000:kaiwa"
    signed = hmac.new(b"north", given.username.encode(), hashlib.sha1).digest()
    assert base64.b64decode(given.credential) == signed
    assert credentials("north", "kaiwa", 1_700_000_001).credential != given.credential
    assert credentials("south", "kaiwa", 1_700_000_000).credential != given.credential


def test_the_login_is_for_relays_and_for_nobody_else() -> None:
    stun, turn = ice_servers(URLS, "north", "kaiwa", 1_700_000_000)
    assert stun == {"urls": ["stun:stun.example.com"]}
    assert turn["urls"] == [*URLS[1:]]
    assert turn["username"] == "1700000000:kaiwa" and turn["credential"]


def test_without_a_secret_there_is_no_relay_and_without_servers_nothing() -> None:
    assert ice_servers(URLS, "", "kaiwa", 1) == [{"urls": ["stun:stun.example.com"]}]
    assert ice_servers((), "north", "kaiwa", 1) == []
    assert links([]) == []


def test_links_are_as_whip_has_them() -> None:
    stun, turn, _ = links(ice_servers(URLS, "north", "kaiwa", 1))
    assert stun == '<stun:stun.example.com>; rel="ice-server"'
    assert turn.startswith('<turn:turn.example.com?transport=udp>; rel="ice-server"; username="1:')
    assert turn.endswith('; credential-type="password"')
