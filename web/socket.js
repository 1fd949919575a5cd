// One call over a WebSocket: JSON events and audio frames. When it is lost, it is done with.

import { CLOSE_CODES, REFUSALS } from "./endings.js";

const HEADER_BYTES = 8;
const PROBE_LIMIT_MS = 4000;
// One second of audio that has not left: more of it is worth nothing to a conversation. If nothing
// leaves for so long, the network is gone, which a browser may not notice for minutes.
const MOST_UNSENT_BYTES = 48_000;
const STALLED_MS = 5000;

/** Events: "event" {…}, "audio" {turn, startMs, pcm}, "lost" {reason}. */
export class Socket extends EventTarget {
  constructor({ key = "" } = {}) {
    super();
    this.key = key;
    this.isOpen = false; // the session is there
    this.flowedAt = 0; // when audio last left
  }

  open() {
    const url = new URL("v1/realtime?model=kaiwa&audio=binary", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    // Offered without a key, a subprotocol that the server does not pick would end the connection.
    const protocols = this.key ? ["realtime", `openai-insecure-api-key.${this.key}`] : [];
    let socket;
    try {
      socket = new WebSocket(url, protocols);
    } catch {
      // A key with characters that a header may not hold.
      this.tell("lost", { reason: "key-needed" });
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
    const { socket } = this;
    this.socket = null;
    socket?.close(1000);
  }

  send(event) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(event));
  }

  /** @param {ArrayBuffer} pcm */
  sendAudio(pcm) {
    // One that is closing takes nothing any more, and says so in the console for every frame.
    if (!this.isOpen || this.socket?.readyState !== WebSocket.OPEN) return;
    const now = performance.now();
    if (this.socket.bufferedAmount <= MOST_UNSENT_BYTES) {
      this.flowedAt = now;
      this.socket.send(pcm);
    } else if (now - this.flowedAt > STALLED_MS) {
      this.socket.close();
      this.lose(0);
    }
  }

  /** The microphone's sound comes as frames. */
  carry() {}

  receive(data) {
    if (typeof data !== "string") {
      const view = new DataView(data);
      if (data.byteLength < HEADER_BYTES) return;
      const samples = Math.floor((data.byteLength - HEADER_BYTES) / 2);
      this.tell("audio", {
        turn: view.getUint32(0, true),
        startMs: view.getUint32(4, true),
        pcm: new Int16Array(data, HEADER_BYTES, samples),
      });
      return;
    }
    const event = JSON.parse(data);
    if (event.type === "session.created") {
      this.isOpen = true;
      this.flowedAt = performance.now();
    }
    this.tell("event", event);
  }

  async lose(code) {
    this.socket = null;
    const reason = CLOSE_CODES[code] ?? (this.isOpen ? "server-gone" : await this.probe());
    this.tell("lost", { reason });
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

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
