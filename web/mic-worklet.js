// Microphone to 20 ms frames of signed 16-bit mono at the wire's rate.
import { Resampler, toInt16 } from "./resample.js";

const WIRE_RATE_HZ = 24_000;
const FRAME_SAMPLES = WIRE_RATE_HZ / 50;

class MicrophoneProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, WIRE_RATE_HZ);
    this.resampled = new Float32Array(0);
    this.frame = new Float32Array(FRAME_SAMPLES);
    this.filled = 0;
    this.mono = new Float32Array(128);
    this.stopped = false;
    this.port.onmessage = () => {
      this.stopped = true;
    };
  }

  process([channels]) {
    if (channels.length === 0) return !this.stopped; // not connected (yet)
    const mono = this.mix(channels);
    if (this.resampled.length < this.resampler.capacity(mono.length)) {
      this.resampled = new Float32Array(this.resampler.capacity(mono.length));
    }
    const count = this.resampler.process(mono, this.resampled);
    for (let i = 0; i < count; i++) {
      this.frame[this.filled++] = this.resampled[i];
      if (this.filled === FRAME_SAMPLES) this.send();
    }
    return !this.stopped;
  }

  mix(channels) {
    if (channels.length === 1) return channels[0];
    if (this.mono.length !== channels[0].length) this.mono = new Float32Array(channels[0].length);
    this.mono.fill(0);
    for (const channel of channels) {
      for (let i = 0; i < channel.length; i++) this.mono[i] += channel[i] / channels.length;
    }
    return this.mono;
  }

  send() {
    let peak = 0;
    let power = 0;
    for (const sample of this.frame) {
      peak = Math.max(peak, Math.abs(sample));
      power += sample * sample;
    }
    const pcm = toInt16(this.frame).buffer;
    this.port.postMessage({ pcm, peak, rms: Math.sqrt(power / FRAME_SAMPLES) }, [pcm]);
    this.filled = 0;
  }
}

registerProcessor("kaiwa-microphone", MicrophoneProcessor);
