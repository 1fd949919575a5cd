// The connection to the server: JSON events and audio frames, and what to do when it is gone.
//
//   closed ──open()──▶ connecting ──session.created──▶ open
//                          ▲   │                        │ lost
//                          │   └──refused──▶ blocked    ▼
//                          └──────countdown────────── waiting
//
// A call that the server ended because it was over is closed, and not tried again.

const BACKOFF_S = [0.5, 1, 2, 4, 8, 15];
const HEADER_BYTES = 8;
const PROBE_LIMIT_MS = 4000;
// One second of audio that has not left: more of it is worth nothing to a conversation. If nothing
// leaves for so long, the network is gone, which a browser may not notice for minutes.
const MOST_UNSENT_BYTES = 48_000;
const STALLED_MS = 5000;

/** Why the server said no, by the status it answers a plain request to the same address with. */
const REFUSALS = { 401: "key-needed", 403: "origin-refused", 503: "server-full" };

/** Why it ended a call that was open, by its close code (docs/wire.md). */
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

/** Events: "state" {state, reason, retryS}, "event" {…}, "audio" {turn, startMs, pcm}. */
export class Socket extends EventTarget {
  constructor() {
    super();
    this.state = "closed";
    this.key = "";
    this.attempt = 0;
    this.flowedAt = 0; // when audio last left
    this.said = ["", 0]; // reason and seconds of the last change
    this.lost = ""; // why it was lost last
  }

  open() {
    if (this.state === "connecting" || this.state === "open") return;
    clearInterval(this.countdown);
    this.change("connecting");
    const url = new URL("v1/realtime?model=kaiwa&audio=binary", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    // Offered without a key, a subprotocol that the server does not pick would end the connection.
    const protocols = this.key ? ["realtime", `openai-insecure-api-key.${this.key}`] : [];
    let socket;
    try {
      socket = new WebSocket(url, protocols);
    } catch {
      // A key with characters that a header may not hold.
      this.change("blocked", "key-needed");
      return;
    }
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      if (this.socket === socket) this.receive(data);
    };
    socket.onclose = ({ code }) => {
      if (this.socket === socket) this.lose(code);
    };
  }

  close() {
    clearInterval(this.countdown);
    const { socket } = this;
    this.socket = null;
    socket?.close(1000);
    this.attempt = 0;
    this.change("closed");
  }

  send(event) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(event));
  }

  /** @param {ArrayBuffer} pcm */
  sendAudio(pcm) {
    // One that is closing takes nothing any more, and says so in the console for every frame.
    if (this.state !== "open" || this.socket.readyState !== WebSocket.OPEN) return;
    const now = performance.now();
    if (this.socket.bufferedAmount <= MOST_UNSENT_BYTES) {
      this.flowedAt = now;
      this.socket.send(pcm);
    } else if (now - this.flowedAt > STALLED_MS) {
      this.abandon();
    }
  }

  abandon() {
    const { socket } = this;
    this.socket = null;
    socket.close();
    this.lose(0);
  }

  receive(data) {
    if (typeof data !== "string") {
      const view = new DataView(data);
      if (data.byteLength < HEADER_BYTES) return;
      const samples = Math.floor((data.byteLength - HEADER_BYTES) / 2);
      const detail = {
        turn: view.getUint32(0, true),
        startMs: view.getUint32(4, true),
        pcm: new Int16Array(data, HEADER_BYTES, samples),
      };
      this.dispatchEvent(new CustomEvent("audio", { detail }));
      return;
    }
    const event = JSON.parse(data);
    if (event.type === "session.created") {
      this.attempt = 0;
      this.flowedAt = performance.now();
      this.change("open");
    }
    this.dispatchEvent(new CustomEvent("event", { detail: event }));
  }

  async lose(code) {
    this.socket = null;
    const wasOpen = this.state === "open";
    let reason = CLOSE_CODES[code] ?? (wasOpen ? "server-gone" : await this.probe());
    // One that stopped is gone until it is back.
    if (!wasOpen && reason === "server-gone" && this.lost === "server-stopping") reason = this.lost;
    this.lost = reason;
    if (this.state === "closed") return; // closed by the user meanwhile
    if (reason === "key-needed" || reason === "origin-refused") this.change("blocked", reason);
    else if (reason === "call-ended") this.change("closed", reason);
    else this.wait(reason);
  }

  /** A browser does not say why a WebSocket was refused; a plain request to it is told. */
  async probe() {
    const headers = this.key ? { Authorization: `Bearer ${this.key}` } : {};
    const signal = AbortSignal.timeout(PROBE_LIMIT_MS);
    try {
      const { status } = await fetch("v1/realtime?model=kaiwa", { headers, signal });
      return REFUSALS[status] ?? "server-gone";
    } catch {
      return "server-gone";
    }
  }

  wait(reason) {
    const base = BACKOFF_S[Math.min(this.attempt, BACKOFF_S.length - 1)];
    this.attempt += 1;
    // Spread, so that a restarted server does not meet all its callers in the same instant.
    const until = performance.now() + base * (0.8 + 0.4 * Math.random()) * 1000;
    const tick = () => {
      const left = (until - performance.now()) / 1000;
      if (left <= 0) this.open();
      else this.change("waiting", reason, Math.ceil(left));
    };
    clearInterval(this.countdown);
    this.countdown = setInterval(tick, 250);
    tick();
  }

  change(state, reason = "", retryS = 0) {
    this.state = state;
    this.said = [reason, retryS];
    this.dispatchEvent(new CustomEvent("state", { detail: { state, reason, retryS } }));
  }
}
