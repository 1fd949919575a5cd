// A call through an unmodified `@openai/agents-realtime` in a page: its microphone, loudspeaker, events.

import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession } from '/sdk/openai-realtime-agents.mjs';

const EVENT_LIMIT_MS = 30_000;
const SILENT = 0.00001; // Of full scale, squared: -50 dB.
// Behind a hum Chromium goes on with noise of its own, at -41 dB, where the server says that it sends none.
const NO_ANSWER = 0.001;

class Call {
  constructor(url, { tools = [] } = {}) {
    this.events = [];
    this.errors = [];
    this.ears = [];
    this.waiting = [];
    this.loudspeaker = document.createElement('audio');
    this.transport = new OpenAIRealtimeWebRTC({
      baseUrl: `${url}/v1/realtime/calls`,
      audioElement: this.loudspeaker,
    });
    const agent = new RealtimeAgent({ name: 'Tester', instructions: 'Be brief.', tools });
    this.session = new RealtimeSession(agent, { transport: this.transport, model: 'kaiwa' });
    this.session.transport.on('*', (event) => {
      this.events.push({ ...event, at: performance.now() });
      this.look();
    });
    this.session.on('history_updated', () => this.look());
    this.session.on('error', (error) => {
      this.errors.push(error);
      this.look();
    });
  }

  look() {
    for (const wake of this.waiting.splice(0)) wake();
  }

  get mark() {
    return this.events.length;
  }

  // The first event of this type from `mark` on.
  async until(type, mark = 0, fits = () => true) {
    const found = () => this.events.slice(mark).find((e) => e.type === type && fits(e));
    return this.when(found, type);
  }

  async when(question, what) {
    const endsAt = performance.now() + EVENT_LIMIT_MS;
    for (;;) {
      const found = question();
      if (found) return found;
      if (this.errors.length) throw new Error(`error: ${JSON.stringify(this.errors)}`);
      const leftMs = endsAt - performance.now();
      if (leftMs <= 0) {
        const seen = this.events.map((event) => event.type);
        throw new Error(`no ${what} within ${EVENT_LIMIT_MS} ms, but ${seen.slice(-40)}`);
      }
      await Promise.race([new Promise((wake) => this.waiting.push(wake)), pause(leftMs)]);
    }
  }

  transcripts() {
    return this.session.history
      .filter((item) => item.type === 'message')
      .map((item) => [item.role, item.content.map((c) => c.transcript ?? c.text).join('')]);
  }

  // What comes out of the loudspeaker from now on.
  async listen() {
    const receivers = this.transport.connectionState.peerConnection.getReceivers();
    const ear = new Ear();
    await ear.open(new MediaStream([receivers[0].track]));
    this.ears.push(ear);
    return ear;
  }
}

const EAR = `registerProcessor('ear', class extends AudioWorkletProcessor {
  process([[left]]) {
    if (left) this.port.postMessage(left.slice());
    return true;
  }
});`;

// A recording, from the moment it is opened.
class Ear {
  constructor() {
    this.context = new AudioContext({ sampleRate: 24_000 });
    this.blocks = [];
  }

  async open(stream) {
    const url = URL.createObjectURL(new Blob([EAR], { type: 'text/javascript' }));
    await this.context.audioWorklet.addModule(url);
    const node = new AudioWorkletNode(this.context, 'ear');
    node.port.onmessage = ({ data }) => this.blocks.push(data);
    this.context.createMediaStreamSource(stream).connect(node);
    await this.context.resume();
  }

  // Seconds in which there was sound, and its level (RMS, of full scale).
  heard(from = 0, silent = SILENT) {
    const powers = this.blocks.slice(from).map(power);
    const loud = powers.filter((one) => one > silent);
    const mean = loud.reduce((sum, one) => sum + one, 0) / Math.max(1, loud.length);
    return { seconds: (loud.length * 128) / 24_000, level: Math.sqrt(mean) };
  }

  // Within a moment: what was on its way is played to its end.
  async fallsSilent() {
    for (let tenths = 0; tenths < 8; tenths += 1) {
      const from = this.blocks.length;
      await pause(150);
      if (this.blocks.length > from && this.heard(from, NO_ANSWER).seconds === 0) return;
    }
    throw new Error(`sound goes on: ${JSON.stringify(this.heard())}`);
  }
}

function power(block) {
  return block.reduce((sum, sample) => sum + sample * sample, 0) / block.length;
}

export const pause = (ms) => new Promise((wake) => setTimeout(wake, ms));

// Returns what was received, for the check against the SDK's own schema.
export async function call(url, options, talk) {
  const connected = new Call(url, options);
  try {
    await connected.session.connect({ apiKey: 'ek_of_nobody' });
    await talk(connected);
    same(connected.errors, []);
    return connected.events.map(({ at, ...event }) => event);
  } finally {
    for (const ear of connected.ears) await ear.context.close();
    connected.session.close();
  }
}

export function check(holds, what) {
  if (!holds) throw new Error(`it does not hold: ${what}`);
}

export function same(given, wanted) {
  const [a, b] = [JSON.stringify(given), JSON.stringify(wanted)];
  check(a === b, `${a} is ${b}`);
}
