"""aiosipua's dialogs, with what they leave behind taken away."""

import logging

import structlog
from aiosipua import IncomingCall, SipRequest, SipUAS
from aiosipua.headers import stringify_uri

SESSION_S = 1800
"""Session timers, for callers who have them (RFC 4028): a dead dialog is noticed."""

log = structlog.get_logger()


class Aside(logging.Handler):
    """aiosipua warns of what strangers send, in their words; whatever an operator should know of it
    is told by us."""

    def emit(self, record: logging.LogRecord) -> None:
        log.debug("sip_library", logger=record.name, said=record.getMessage())


def speak_aside() -> None:
    """aiosipua's log, from now on: at DEBUG."""
    library = logging.getLogger("aiosipua")
    library.handlers[:] = [Aside()]
    library.propagate = False


class Dialogs(SipUAS):
    @staticmethod
    def mend_route(call: IncomingCall) -> None:
        """What we send passes the proxies in the order in which the INVITE has them (RFC 3261
        §12.1.1); aiosipua turns it round, as only the caller may."""
        call.dialog.route_set = list(call.invite.headers.get("record-route"))

    @staticmethod
    def mend_target(call: IncomingCall, request: SipRequest) -> None:
        """A caller who goes on elsewhere is called there (RFC 3261 §12.2.2); aiosipua keeps to the
        first Contact."""
        if request.contact:
            call.dialog.remote_target = stringify_uri(request.contact[0].uri)

    def forget(self, call: IncomingCall) -> None:
        """Its timers and its place: a call that we ended ourselves keeps both, else for ever."""
        call._stop_retransmissions()
        if self._calls.get(call.call_id) is call:
            del self._calls[call.call_id]
