// The connection to the server, whichever link carries it, and what to do when it is gone.
//
//   closed ──open()──▶ connecting ──session.created──▶ open
//                       ▲  │   ▲ │                      │ lost
//          another link │  │   └─┤ no WebRTC            ▼
//                       └──┼─────┴──countdown──────── waiting
//                          └──refused──▶ blocked
//
//   wanted       with a microphone                typed questions alone
//   auto         WebRTC, else WebSocket           WebSocket: there is no sound to carry
//   webrtc       WebRTC                           WebSocket
//   websocket    WebSocket                        WebSocket
//
// A call that the server ended because it was over is closed, and not tried again.

import { Peer } from "./webrtc.js";
import { Socket } from "./socket.js";

const BACKOFF_S = [0.5, 1, 2, 4, 8, 15];
// So long after it did not work, WebRTC is not tried again: every try costs the caller seconds. A
// server that is full has room again sooner than a firewall changes.
const AVOID_MS = { "webrtc-refused": 60_000, other: 3_600_000 };
// Lost twice within this time, it will be lost again.
const FLAPPING_MS = 60_000;

const LINKS = { websocket: (options) => new Socket(options), webrtc: (options) => new Peer(options) };

/** What a server without WebRTC answers, or a network that lets no media through. */
const NO_WEBRTC = new Set(["webrtc-off", "webrtc-refused", "webrtc-no-path"]);
const BLOCKED = new Set(["key-needed", "origin-refused"]);
/** What ends with the server's return; a full one answers all the while. */
const SERVER_AWAY = new Set(["server-gone", "server-stopping", "call-broke"]);

/** Events: "state" {state, reason, retryS}, "event" {…}, "audio" {turn, startMs, pcm}, "quality" {…}. */
export class Connection extends EventTarget {
  constructor(links = LINKS) {
    super();
    this.links = links;
    this.state = "closed";
    this.key = "";
    this.wanted = "auto";
    this.track = null; // the microphone's
    this.link = null;
    this.kind = ""; // of the link, while there is one: webrtc, websocket
    this.attempt = 0;
    this.said = ["", 0]; // reason and seconds of the last change
    this.lost = ""; // why it was lost last
    this.lostMediaAt = -Infinity;
    this.goesOn = false; // the next session is the same conversation, over another link
    this.brokeOff = false; // an open call was lost, and no session has followed it yet
    this.isAwaited = false; // the next answer of the server is worth a try at once
    this.forgive();
  }

  /** Another network, or another choice: what did not work may work now. */
  forgive() {
    this.avoided = { reason: "", until: 0 }; // by the wall clock: it outlives the page
  }

  /** Why it is not WebRTC, though it could have been; "": nothing to say. */
  get why() {
    if (this.kind !== "websocket" || this.wanted !== "auto" || !this.track) return "";
    return Peer.isPossible ? this.avoided.reason : "webrtc-unsupported";
  }

  /** What the server's voice comes as, over WebRTC. */
  get stream() {
    return this.link?.stream ?? null;
  }

  open() {
    if (this.state === "connecting") return;
    if (this.state !== "open") this.dial();
    else if (this.pick() !== this.kind) this.changeOver();
  }

  close() {
    clearInterval(this.countdown);
    this.drop();
    this.attempt = 0;
    this.goesOn = false;
    this.brokeOff = false;
    this.change("closed");
  }

  /** By hand: which link it shall be; at once, where there is one. */
  want(wanted) {
    this.wanted = wanted;
    this.forgive();
    if (this.state === "open" && this.pick() !== this.kind) this.changeOver();
    else if (this.state === "connecting" || this.state === "waiting") this.dial();
  }

  /**
   * What the server answers beside the call, to whoever asks how it is: back again, it is called at
   * once. A second time only when it was gone in between, or the wait would never grow.
   */
  noticeServer(takesCalls) {
    const isBack = takesCalls && this.isAwaited;
    this.isAwaited = !takesCalls;
    if (isBack && this.state === "waiting" && SERVER_AWAY.has(this.lost)) this.open();
  }

  /** The microphone that is heard from now on. */
  carry(track) {
    this.track = track;
    this.link?.carry(track);
  }

  send(event) {
    this.link?.send(event);
  }

  /** @param {ArrayBuffer} pcm */
  sendAudio(pcm) {
    this.link?.sendAudio(pcm);
  }

  pick() {
    if (!this.track || this.wanted === "websocket" || !Peer.isPossible) return "websocket";
    if (this.wanted === "auto" && Date.now() < this.avoided.until) return "websocket";
    return "webrtc";
  }

  changeOver() {
    this.goesOn = true;
    this.dial();
  }

  dial() {
    clearInterval(this.countdown);
    this.drop();
    this.kind = this.pick();
    const link = this.links[this.kind]({ key: this.key, track: this.track });
    this.link = link;
    const on = (type, react) =>
      link.addEventListener(type, ({ detail }) => {
        if (link === this.link) react(detail);
      });
    on("event", (event) => this.receive(event));
    on("audio", (detail) => this.tell("audio", detail));
    on("quality", (detail) => this.tell("quality", detail));
    on("lost", ({ reason }) => this.lose(reason));
    this.change("connecting");
    link.open();
  }

  drop() {
    const { link } = this;
    this.link = null;
    this.kind = "";
    link?.close();
  }

  receive(event) {
    const isNew = event.type === "session.created";
    if (isNew) {
      this.attempt = 0;
      this.change("open");
    }
    this.tell("event", event);
    if (isNew) this.goesOn = this.brokeOff = false;
  }

  lose(reason) {
    const wasOpen = this.state === "open";
    this.drop();
    // One that stopped is gone until it is back.
    if (!wasOpen && reason === "server-gone" && this.lost === "server-stopping") reason = this.lost;
    this.lost = reason;
    if (wasOpen) this.brokeOff = this.isAwaited = true;
    if (reason === "webrtc-lost") this.loseMedia();
    else if (NO_WEBRTC.has(reason)) this.fallBack(reason);
    else if (BLOCKED.has(reason)) this.change("blocked", reason);
    else if (reason === "call-ended") this.change("closed", reason);
    else this.wait(reason);
  }

  /** The path broke, as when the caller walks out of the Wi-Fi: a new one, or the other link. */
  loseMedia() {
    const now = performance.now();
    if (now - this.lostMediaAt < FLAPPING_MS) this.avoid("webrtc-lost");
    this.lostMediaAt = now;
    this.changeOver();
  }

  fallBack(reason) {
    if (this.wanted === "auto") {
      this.avoid(reason);
      this.dial();
    } else if (reason === "webrtc-off") {
      this.change("blocked", reason);
    } else {
      this.wait(reason);
    }
  }

  avoid(reason) {
    this.avoided = { reason, until: Date.now() + (AVOID_MS[reason] ?? AVOID_MS.other) };
  }

  wait(reason) {
    this.goesOn = false;
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
    this.tell("state", { state, reason, retryS });
  }

  tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
