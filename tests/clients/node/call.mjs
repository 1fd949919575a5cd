// A call through an unmodified `@openai/agents-realtime`: its microphone, its events, its errors.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession } from '@openai/agents-realtime';

// Not exported by the package; by its path it is the very schema the SDK reads events with.
import { realtimeServerEventSchema } from './node_modules/@openai/agents-realtime/dist/openaiRealtimeEvents.mjs';

const FRAME_MS = 40;
const FRAME_BYTES = FRAME_MS * 48;
const SPEECH = readFileSync(join(process.argv[3], 'speech.pcm'));

class Call {
  constructor(url, { tools = [], config = {} } = {}) {
    this.events = [];
    this.sounds = [];
    this.errors = [];
    this.interruptions = 0;
    this.frames = [];
    this.waiting = [];
    const agent = new RealtimeAgent({ name: 'Tester', instructions: 'Be brief.', tools });
    const transport = new OpenAIRealtimeWebSocket({
      url: `${url.replace('http', 'ws')}/v1/realtime?model=kaiwa`,
      useInsecureApiKey: true,
    });
    this.session = new RealtimeSession(agent, { transport, model: 'kaiwa', config });
    this.session.transport.on('*', (event) => this.receive(event));
    this.session.on('history_updated', () => this.look());
    this.session.on('error', (error) => {
      this.errors.push(error);
      this.look();
    });
    this.session.on('audio', (event) => this.sounds.push(event));
    this.session.on('audio_interrupted', () => (this.interruptions += 1));
  }

  receive(event) {
    this.events.push(event);
    this.look();
  }

  look() {
    for (const wake of this.waiting.splice(0)) wake();
  }

  // The first event of this type from `mark` on.
  async until(type, mark = 0, fits = () => true) {
    return this.when(() =>
      this.events.slice(mark).find((event) => event.type === type && fits(event)),
    );
  }

  // Asks again at every event and every change of the history; the host bounds the wait.
  async when(question) {
    for (;;) {
      const found = question();
      if (found) return found;
      if (this.errors.length) throw new Error(`error: ${JSON.stringify(this.errors)}`);
      await new Promise((resolve) => this.waiting.push(resolve));
    }
  }

  get mark() {
    return this.events.length;
  }

  switchMicrophoneOn() {
    const quiet = new ArrayBuffer(FRAME_BYTES);
    this.microphone = setInterval(() => {
      this.session.sendAudio(this.frames.shift() ?? quiet);
    }, FRAME_MS);
  }

  speak() {
    for (let at = 0; at < SPEECH.length; at += FRAME_BYTES) {
      const piece = new Uint8Array(FRAME_BYTES);
      piece.set(SPEECH.subarray(at, at + FRAME_BYTES));
      this.frames.push(piece.buffer);
    }
  }

  transcripts() {
    return this.session.history
      .filter((item) => item.type === 'message')
      .map((item) => [item.role, item.content.map((c) => c.transcript ?? c.text).join('')]);
  }

  close() {
    clearInterval(this.microphone);
    this.session.close();
  }
}

export async function call(url, options, talk) {
  const connected = new Call(url, options);
  try {
    await connected.session.connect({ apiKey: 'none' });
    // The SDK's own two updates: the session, then tracing.
    await connected.when(
      () => connected.events.filter((event) => event.type === 'session.updated').length >= 2,
    );
    await talk(connected);
    assert.deepEqual(connected.errors, []);
    assertEveryEventFitsItsSchema(connected.events);
  } finally {
    connected.close();
  }
}

// An event that fails the SDK's schema is silently ignored by it: exactly what must not happen.
function assertEveryEventFitsItsSchema(events) {
  for (const event of events) {
    if (event.type.startsWith('kaiwa.')) continue;
    const parsed = realtimeServerEventSchema.safeParse(event);
    assert.ok(parsed.success, `${JSON.stringify(event)}: ${parsed.error?.message}`);
  }
}
