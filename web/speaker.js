// The answer's audio: frames in, and the truth about what has been heard out.

const REPORT_MS = 100;

/** Events: "level" {rms}, and "started", "position", "report", "finished", "cleared" {item, playedMs}. */
export class Speaker extends EventTarget {
  /** @param {AudioContext} context */
  constructor(context) {
    super();
    this.context = context;
    this.item = null;
    this.underruns = 0;
    this.lastReport = 0;
    this.node = new AudioWorkletNode(context, "kaiwa-speaker", {
      numberOfInputs: 0,
      outputChannelCount: [1],
    });
    this.node.port.onmessage = ({ data }) => this.receive(data);
    this.node.connect(context.destination);
  }

  get isPlaying() {
    return this.item !== null;
  }

  /** Sounds through this device; empty: the system's own choice. */
  async setOutput(deviceId) {
    await this.context.setSinkId?.(deviceId);
  }

  /** @param {Int16Array} pcm 24 kHz; its buffer is taken away */
  play(item, startMs, pcm) {
    const buffer = pcm.slice().buffer;
    this.node.port.postMessage({ type: "audio", item, startMs, pcm: buffer }, [buffer]);
    this.item ??= item;
  }

  end(item) {
    this.node.port.postMessage({ type: "end", item });
  }

  /** Low for as long as the caller may be speaking. */
  duck(isDucked) {
    this.node.port.postMessage({ type: "duck", isDucked });
  }

  /** Silence now; "cleared" follows with what had been played of the item. */
  clear() {
    this.node.port.postMessage({ type: "clear" });
  }

  close() {
    this.node.port.postMessage({ type: "close" });
    this.node.disconnect();
  }

  receive(message) {
    this.underruns = message.underruns;
    if (message.item === null) return;
    switch (message.type) {
      case "started":
        this.item = message.item;
        this.tell("started", message);
        break;
      case "position":
        this.position(message);
        break;
      case "finished":
      case "cleared":
        // What the sound card holds cannot be called back: by now all of it counts as heard.
        this.item = null;
        this.tell("level", { rms: 0 });
        this.tell(message.type, message);
        break;
    }
  }

  position(message) {
    const heard = { ...message, playedMs: Math.max(0, message.playedMs - this.latencyMs) };
    this.tell("level", message);
    this.tell("position", heard);
    const now = performance.now();
    if (heard.playedMs <= 0 || now - this.lastReport < REPORT_MS * 0.9) return;
    this.lastReport = now;
    this.tell("report", heard);
  }

  /** Between handing samples over and hearing them; not every browser knows. */
  get latencyMs() {
    return (this.context.outputLatency || this.context.baseLatency || 0) * 1000;
  }

  tell(type, { item, playedMs, rms }) {
    const detail = { item, playedMs: Math.round(playedMs ?? 0), rms };
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
