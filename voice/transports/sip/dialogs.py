"""aiosipua's dialogs, with what they leave behind taken away."""

from aiosipua import IncomingCall, SipUAS

SESSION_S = 1800
"""Session timers, for callers who have them (RFC 4028): a dead dialog is noticed."""


class Dialogs(SipUAS):
    def forget(self, call: IncomingCall) -> None:
        """Its timers and its place: a call that we ended ourselves keeps both, else for ever."""
        call._stop_retransmissions()
        if self._calls.get(call.call_id) is call:
            del self._calls[call.call_id]
