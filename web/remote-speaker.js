// The answer's audio over WebRTC: the server plays it, the browser sounds it, this tells what has
// been heard. The same face as the speaker of the WebSocket (speaker.js).

import { HeardClock } from "./heard-clock.js";

const REPORT_MS = 100;
const DUCKED = 0.15;
// After a cut, what is under way still comes for so long.
const HUSH_MS = 400;

/** Events: "level" {rms}, and "started", "position", "report", "finished", "cleared" {item, playedMs}. */
export class RemoteSpeaker extends EventTarget {
  /**
   * @param {AudioContext} context only measures; its modules are loaded
   * @param {MediaStream} stream the server's voice
   */
  constructor(context, stream) {
    super();
    this.context = context;
    this.stream = stream;
    this.item = null;
    this.underruns = null; // not to be told from the pauses in which the server sends nothing
    this.lastReport = 0;
    this.clock = new HeardClock();
    // An element, and not the context's output: Chromium's echo canceller has always known what
    // elements play of a peer connection, but not what passed through Web Audio
    // (https://crbug.com/687574); where it may be told "remote-only", it still knows nothing else.
    this.element = new Audio();
    this.element.autoplay = true;
    this.element.srcObject = stream;
    this.element.play().catch((error) => this.tell("failed", { error }));
    this.listen();
  }

  /** Levels, and a tick every 20 ms that a page in the background has too. */
  listen() {
    this.source = this.context.createMediaStreamSource(this.stream);
    this.node = new AudioWorkletNode(this.context, "kaiwa-microphone", { outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => this.tick(data.rms, performance.now());
    this.source.connect(this.node);
    this.node.connect(this.context.destination); // silent, but only what leads there is run
  }

  get isPlaying() {
    return this.item !== null;
  }

  /** @param {number} delayMs of the browser's jitter buffer */
  set delayMs(delayMs) {
    this.clock.delayMs = delayMs + (this.context.outputLatency || 0) * 1000;
  }

  /** Sounds through this device; empty: the system's own choice. */
  async setOutput(deviceId) {
    await this.element.setSinkId?.(deviceId);
  }

  /** The server begins to play the item. */
  begin(item) {
    if (this.item !== null) this.finish();
    this.unhush();
    this.item = item;
    this.clock.begin(performance.now());
    this.tell("started");
  }

  /** The server has played it to its end; the caller hears that a little later. */
  stop() {
    const { item } = this;
    this.finishTimer = setTimeout(() => item === this.item && this.finish(), this.clock.delayMs);
  }

  /** The server's own word comes when it has played it. */
  end() {}

  /** Low for as long as the caller may be speaking: what is still under way is spoken over. */
  duck(isDucked) {
    this.clock.hold(isDucked, performance.now());
    this.element.volume = isDucked ? DUCKED : 1;
  }

  /** Silence now, whatever is still under way; "cleared" follows. */
  clear() {
    this.element.muted = true;
    clearTimeout(this.hushTimer);
    this.hushTimer = setTimeout(() => this.unhush(), HUSH_MS);
    if (this.item !== null) this.leave("cleared");
  }

  close() {
    clearTimeout(this.finishTimer);
    this.unhush();
    this.element.srcObject = null;
    this.source.disconnect();
    this.node.port.postMessage("close");
    this.node.disconnect();
  }

  unhush() {
    clearTimeout(this.hushTimer);
    this.element.muted = false;
  }

  finish() {
    this.leave("finished");
  }

  leave(type) {
    clearTimeout(this.finishTimer);
    const detail = { item: this.item, playedMs: this.clock.playedMs(performance.now()) };
    this.item = null;
    this.tell("level", { rms: 0 });
    this.tell(type, detail);
  }

  tick(rms, nowMs) {
    if (this.item === null) return;
    const detail = { item: this.item, playedMs: this.clock.playedMs(nowMs) };
    this.tell("level", { rms });
    this.tell("position", detail);
    if (detail.playedMs <= 0 || nowMs - this.lastReport < REPORT_MS) return;
    this.lastReport = nowMs;
    this.tell("report", detail);
  }

  tell(type, detail = {}) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
