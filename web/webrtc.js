// One call over WebRTC: sound as media tracks, JSON events on a data channel. When it is lost, it is
// done with.
//
//   ICE servers ─▶ offer, all candidates gathered ─POST─▶ answer ─▶ a media path ─▶ session.created
//                                                  no path within PATH_MS: lost, "webrtc-no-path"

import { CLOSE_CODES, REFUSALS } from "./endings.js";
import { Quality } from "./quality.js";

const CALLS = "v1/realtime/calls";
const ICE_SERVERS = "v1/realtime/ice";
const REQUEST_LIMIT_MS = 5000;
// The offer goes in one piece; candidates of interfaces that lead nowhere are not waited for.
const GATHER_MS = 1000;
const PATH_MS = 4000;
const STATS_MS = 1000;
const HANG_UP_MS = 500;
// A path that is interrupted comes back, or it does not: longer than this, nobody keeps talking.
const INTERRUPTED_MS = 4000;
const SILENT_S = 7;
// Of a call that the server has ended; the packet that says the channel is closed may be lost.
const ENDING_MS = 1500;

/** Servers without WebRTC have no such address. */
const NOT_OFFERED = new Set([404, 405, 501]);

class Lost extends Error {
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

/** Events: "event" {…}, "quality" {…} every second, "lost" {reason}. */
export class Peer extends EventTarget {
  /** @param {{key?: string, track?: MediaStreamTrack | null}} options track: what is sent */
  constructor({ key = "", track = null } = {}) {
    super();
    this.key = key;
    this.track = track;
    this.stream = null; // what comes
    this.isOpen = false; // the session is there
    this.isDone = false;
    this.quality = new Quality();
    this.ending = "call-broke";
  }

  static get isPossible() {
    return typeof RTCPeerConnection === "function";
  }

  async open() {
    try {
      await this.connect();
    } catch (error) {
      this.lose(error instanceof Lost ? error.reason : "webrtc-refused");
    }
  }

  async connect() {
    const { iceServers } = await (await this.ask(ICE_SERVERS)).json();
    if (this.isDone) return;
    this.peer = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.listen(this.peer);
    await this.peer.setLocalDescription();
    await gathered(this.peer);
    if (this.isDone) return;
    const answer = await this.ask(CALLS, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: this.peer.localDescription.sdp,
    });
    this.address = answer.headers.get("Location");
    const sdp = await answer.text();
    if (this.isDone) {
      this.hangUp();
      return;
    }
    await this.peer.setRemoteDescription({ type: "answer", sdp });
    this.pathTimer = setTimeout(() => this.lose("webrtc-no-path"), PATH_MS);
  }

  async ask(path, options = {}) {
    const headers = this.headers(options.headers);
    const signal = AbortSignal.timeout(REQUEST_LIMIT_MS);
    let answer;
    try {
      answer = await fetch(path, { ...options, headers, signal });
    } catch (error) {
      throw new Lost(error.name === "TimeoutError" ? "webrtc-refused" : "server-gone");
    }
    if (answer.ok) return answer;
    if (NOT_OFFERED.has(answer.status)) throw new Lost("webrtc-off");
    const isBusy = answer.status === 503; // with WebRTC, perhaps; the WebSocket is told more
    throw new Lost((!isBusy && REFUSALS[answer.status]) || "webrtc-refused");
  }

  headers(others = {}) {
    try {
      return new Headers(this.key ? { ...others, Authorization: `Bearer ${this.key}` } : others);
    } catch {
      throw new Lost("key-needed"); // one with characters that a header may not hold
    }
  }

  listen(peer) {
    this.channel = peer.createDataChannel("oai-events");
    this.channel.onmessage = ({ data }) => this.receive(JSON.parse(data));
    this.channel.onclose = () => this.lose(this.ending, { isOver: true });
    // Sent as the browser gives it: its echo cancellation has been over it already.
    const streams = this.track ? [new MediaStream([this.track])] : [];
    const options = { direction: "sendrecv", streams };
    this.sender = peer.addTransceiver(this.track ?? "audio", options).sender;
    peer.ontrack = ({ track }) => {
      this.stream = new MediaStream([track]);
    };
    peer.onconnectionstatechange = () => this.follow(peer.connectionState);
  }

  /** Another microphone, in the middle of the call. */
  carry(track) {
    this.track = track;
    this.sender?.replaceTrack(track);
  }

  send(event) {
    if (this.channel?.readyState !== "open") return;
    try {
      this.channel.send(JSON.stringify(event));
    } catch (error) {
      // Longer than the server takes on a data channel.
      const told = { code: "event_too_large", message: error.message };
      this.tell("event", { type: "error", error: told });
    }
  }

  /** The track carries it. */
  sendAudio() {}

  close() {
    if (this.isDone) return;
    this.isDone = true;
    clearTimeout(this.pathTimer);
    clearTimeout(this.interruptedTimer);
    clearTimeout(this.endingTimer);
    clearInterval(this.statsTimer);
    this.sender?.replaceTrack(null);
    // Only when the server knows: of a connection that closed first, it has forgotten the call.
    this.hangUp().finally(() => this.peer?.close());
  }

  /** The server sees a browser that went away only after seconds; a page that closes says so. */
  async hangUp() {
    if (!this.address) return;
    const id = this.address.split("/").at(-1); // a proxy may have put the server under another path
    this.address = null;
    const limit = new Promise((resolve) => setTimeout(resolve, HANG_UP_MS));
    const request = { method: "DELETE", headers: this.headers(), keepalive: true };
    await Promise.race([fetch(`${CALLS}/${id}`, request).catch(() => {}), limit]);
  }

  receive(event) {
    if (this.isDone) return;
    if (event.type === "session.created") {
      this.isOpen = true;
      clearTimeout(this.pathTimer);
      this.statsTimer = setInterval(() => this.look(), STATS_MS);
    } else if (event.type === "kaiwa.call.ended") {
      this.ending = CLOSE_CODES[event.code] ?? this.ending;
      this.endingTimer = setTimeout(() => this.lose(this.ending, { isOver: true }), ENDING_MS);
    }
    this.tell("event", event);
  }

  follow(state) {
    clearTimeout(this.interruptedTimer);
    if (state === "failed") {
      this.lose(this.isOpen ? "webrtc-lost" : "webrtc-no-path");
    } else if (state === "disconnected") {
      this.interruptedTimer = setTimeout(() => this.lose("webrtc-lost"), INTERRUPTED_MS);
    }
  }

  async look() {
    if (this.isDone) return;
    const report = await this.peer.getStats();
    if (this.isDone) return;
    const figures = this.quality.take([...report.values()]);
    if (figures.silentS >= SILENT_S) this.lose("webrtc-lost");
    else this.tell("quality", figures);
  }

  /** @param {{isOver?: boolean}} how isOver: on the server, too, where nothing is to be ended */
  lose(reason, { isOver = false } = {}) {
    if (this.isDone) return;
    if (isOver) this.address = null;
    this.close();
    this.tell("lost", { reason });
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

function gathered(peer) {
  return new Promise((resolve) => {
    setTimeout(resolve, GATHER_MS);
    const look = () => peer.iceGatheringState === "complete" && resolve();
    peer.addEventListener("icegatheringstatechange", look);
    look();
  });
}
