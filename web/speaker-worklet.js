// The answer's audio to the sound card: resampled as it comes, so that playing is only copying.
//
//   in   {type: "audio", item, startMs, pcm}  {type: "end", item}  {type: "duck", isDucked}  {type: "clear"}
//   out  {type: "started" | "finished" | "cleared" | "dry" | "position", item, playedMs, …}
import { Resampler, toFloat32 } from "./resample.js";
import { Playout } from "./playout.js";

const WIRE_RATE_HZ = 24_000;
const REPORT_MS = 20;

class SpeakerProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(WIRE_RATE_HZ, sampleRate);
    this.delayMs = this.resampler.delay(WIRE_RATE_HZ) * 1000;
    this.playout = new Playout(sampleRate);
    this.item = null;
    this.nextMs = 0;
    this.sinceReport = 0;
    this.power = 0;
    this.stopped = false;
    this.port.onmessage = ({ data }) => this.receive(data);
  }

  receive(message) {
    switch (message.type) {
      case "audio":
        this.add(message);
        break;
      case "end":
        this.playout.end(message.item);
        if (message.item === this.item) this.flush();
        break;
      case "duck":
        this.playout.duck(message.isDucked);
        break;
      case "clear":
        this.item = null;
        this.report(this.playout.clear());
        break;
      case "close":
        this.stopped = true;
        break;
    }
  }

  add({ item, startMs, pcm }) {
    if (item !== this.item) {
      this.resampler.reset();
      this.item = item;
    }
    const samples = toFloat32(new Int16Array(pcm));
    this.nextMs = startMs + (samples.length * 1000) / WIRE_RATE_HZ;
    this.enqueue(startMs, samples);
  }

  /** What the filter still holds back of the item's last milliseconds. */
  flush() {
    this.enqueue(this.nextMs, new Float32Array(Math.ceil((this.delayMs * WIRE_RATE_HZ) / 1000)));
  }

  enqueue(startMs, samples) {
    const resampled = new Float32Array(this.resampler.capacity(samples.length));
    const count = this.resampler.process(samples, resampled);
    const start = Math.max(0, startMs - this.delayMs);
    this.playout.add(this.item, start, resampled.subarray(0, count));
  }

  process(_, [channels]) {
    const [first, ...others] = channels;
    const events = this.playout.take(first);
    for (const channel of others) channel.set(first);
    for (const sample of first) this.power += sample * sample;
    this.report(events);
    this.sinceReport += first.length;
    if (this.sinceReport >= (REPORT_MS * sampleRate) / 1000) this.position();
    return !this.stopped;
  }

  report(events) {
    const { underruns, bufferedMs } = this.playout;
    for (const event of events) this.port.postMessage({ ...event, underruns, bufferedMs });
  }

  position() {
    const { item, playedMs, underruns, bufferedMs, state } = this.playout;
    const rms = Math.sqrt(this.power / this.sinceReport);
    this.sinceReport = 0;
    this.power = 0;
    if (state === "empty") return;
    this.port.postMessage({ type: "position", item, playedMs, rms, underruns, bufferedMs });
  }
}

registerProcessor("kaiwa-speaker", SpeakerProcessor);
