// A call through an unmodified `@openai/agents-realtime` in a page: its microphone, loudspeaker, events.

import { OpenAIRealtimeWebRTC, RealtimeAgent, RealtimeSession } from '/sdk/openai-realtime-agents.mjs';

const EVENT_LIMIT_MS = 30_000;

class Call {
  constructor(url, { tools = [] } = {}) {
    this.events = [];
    this.errors = [];
    this.interruptions = 0;
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
    this.session.on('audio_interrupted', () => (this.interruptions += 1));
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

  // What came over the air: seconds of sound, and the energy in them (of full scale, squared).
  async sound() {
    const stats = await this.transport.connectionState.peerConnection.getStats();
    const inbound = [...stats.values()].find((s) => s.type === 'inbound-rtp' && s.kind === 'audio');
    return {
      seconds: inbound.totalSamplesDuration,
      energy: inbound.totalAudioEnergy,
      concealed: inbound.concealedSamples / Math.max(1, inbound.totalSamplesReceived),
      packets: inbound.packetsReceived,
      lost: inbound.packetsLost,
    };
  }
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
