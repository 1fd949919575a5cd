// Why a server said no, and why it ended a call: the same over every link.

/** By the status it answers a plain request with. */
export const REFUSALS = { 401: "key-needed", 403: "origin-refused", 503: "server-full" };

/** By the close code of a call that was open (docs/wire.md). */
export const CLOSE_CODES = {
  1000: "call-ended",
  1001: "server-stopping",
  1002: "call-refused",
  1007: "call-refused",
  1008: "call-refused",
  1009: "frame-too-long",
  1011: "call-broke",
  1012: "server-stopping",
};
