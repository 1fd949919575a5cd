// How much of an answer has been heard that the server plays. Pure: told what the server says, and
// the time.
//
//   server   started ######## held ....... on ####### stopped
//   caller      <─delay─>######## ............ #######
//
// The server sends in real time, so its events and a clock tell as much as samples counted would.
// An event comes as fast as a packet; what it waits in the browser's jitter buffer is the delay.

export class HeardClock {
  constructor() {
    this.delayMs = 0;
    this.isHeld = false;
    this.begin(0);
  }

  /** The first packet of an answer is on its way. */
  begin(nowMs) {
    this.sentMs = 0;
    this.sinceMs = nowMs;
    this.heardMs = 0; // when it was last held back: what comes then waits as well
  }

  /** The server sends nothing until it is sure that the caller means to speak; or goes on. */
  hold(isHeld, nowMs) {
    if (isHeld === this.isHeld) return;
    this.heardMs = this.playedMs(nowMs);
    this.sentMs = this.sent(nowMs);
    this.sinceMs = nowMs;
    this.isHeld = isHeld;
  }

  sent(nowMs) {
    return this.sentMs + (this.isHeld ? 0 : Math.max(0, nowMs - this.sinceMs));
  }

  /** Milliseconds into the answer's sound. */
  playedMs(nowMs) {
    const waiting = this.isHeld ? Math.max(0, this.delayMs - (nowMs - this.sinceMs)) : this.delayMs;
    return Math.max(this.heardMs, Math.round(this.sent(nowMs) - waiting));
  }
}
