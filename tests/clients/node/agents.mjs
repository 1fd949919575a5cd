// Conversations of an unmodified `@openai/agents-realtime` with the server, over its WebSocket.
// A scenario fails at any `error` of the session that it did not ask for.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

import {
  OpenAIRealtimeWebSocket,
  RealtimeAgent,
  RealtimeSession,
  tool,
} from '@openai/agents-realtime';
import { z } from 'zod';

// Not exported by the package; by its path it is the very schema the SDK reads events with.
import { realtimeServerEventSchema } from './node_modules/@openai/agents-realtime/dist/openaiRealtimeEvents.mjs';

const HEARD = 'hello there my friend';
const ANSWER = `You said: ${HEARD}.`;
const FRAME_MS = 40;
const FRAME_BYTES = FRAME_MS * 48;
const SPEECH = readFileSync(join(process.argv[3], 'speech.pcm'));

// --- what the scenarios share --------------------------------------------------------------------

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
      if (this.errors.length) throw new Error(`error: ${JSON.stringify(this.errors)}`);
      const found = question();
      if (found) return found;
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

async function call(url, options, talk) {
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

const last = (items) => items[items.length - 1];

// --- scenarios -----------------------------------------------------------------------------------

export async function the_default_session_update_is_accepted(url) {
  await call(url, {}, async (agent) => {
    const [created] = agent.events;
    assert.equal(created.type, 'session.created');
    const updated = last(agent.events.filter((event) => event.type === 'session.updated'));
    const { input, output } = updated.session.audio;
    assert.equal(input.turn_detection.type, 'semantic_vad');
    assert.equal(input.turn_detection.interrupt_response, true);
    assert.equal(input.turn_detection.create_response, true);
    assert.equal(input.transcription.model, 'gpt-4o-mini-transcribe');
    assert.equal(input.noise_reduction, null);
    assert.deepEqual(output.format, { type: 'audio/pcm', rate: 24000 });
    assert.equal(typeof output.voice, 'string');
    assert.equal(updated.session.tracing, 'auto');
    assert.equal(updated.session.instructions, 'Be brief.');
  });
}

export async function a_spoken_turn_fills_the_history_with_both_sides(url) {
  await call(url, {}, async (agent) => {
    agent.switchMicrophoneOn();
    agent.speak();
    const done = await agent.until('response.done');
    assert.equal(done.response.status, 'completed');
    await agent.when(() => agent.transcripts()[0]?.[1] === HEARD);
    assert.deepEqual(agent.transcripts(), [
      ['user', HEARD],
      ['assistant', ANSWER],
    ]);
    const retrieved = agent.events.find((event) => event.type === 'conversation.item.retrieved');
    assert.equal(retrieved.item.content[0].transcript, HEARD);
    const soundMs = agent.sounds.reduce((sum, sound) => sum + sound.data.byteLength / 48, 0);
    assert.ok(Math.abs(soundMs - 65 * ANSWER.length) < 150, `${soundMs} ms`);
    assert.ok(agent.session.usage.outputTokens > 0);
  });
}

export async function speech_over_the_answer_interrupts_it(url) {
  await call(url, {}, async (agent) => {
    agent.switchMicrophoneOn();
    agent.session.sendMessage('tell me a story');
    await agent.until('response.output_audio.delta');
    await pause(1500);
    const mark = agent.mark;
    agent.speak();
    const done = await agent.until('response.done', mark);
    assert.equal(done.response.status, 'cancelled');
    assert.equal(done.response.status_details.reason, 'turn_detected');
    assert.ok(agent.interruptions >= 1);
    const truncated = await agent.until('conversation.item.truncated', mark);
    assert.ok(truncated.audio_end_ms > 800 && truncated.audio_end_ms < 4000);
    await agent.until(
      'conversation.item.retrieved',
      mark,
      (event) => event.item.id === truncated.item_id,
    );
    const story = agent.session.history.find((item) => item.itemId === truncated.item_id);
    const kept = story.content[0].transcript;
    assert.ok(kept.startsWith('Sentence number') && kept.length < 70, kept);
    assert.equal(story.status, 'incomplete');
    const next = await agent.until('response.done', agent.mark);
    assert.equal(next.response.status, 'completed');
    const cancels = agent.events.filter((event) => event.type === 'error');
    assert.deepEqual(cancels, [], 'the SDK leaves the cancel to us');
  });
}

export async function a_tool_is_called_and_its_result_spoken(url) {
  const asked = [];
  const getWeather = tool({
    name: 'get_weather',
    description: 'The weather in a city.',
    parameters: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      asked.push(city);
      return `rain in ${city}`;
    },
  });
  await call(url, { tools: [getWeather] }, async (agent) => {
    agent.session.sendMessage('what is the weather');
    await agent.until('response.output_audio_transcript.done');
    const done = await agent.until('response.done', 0, (event) =>
      event.response.output.some((item) => item.type === 'message'),
    );
    assert.deepEqual(asked, ['Oslo']);
    assert.equal(
      done.response.output[0].content[0].transcript,
      'The tool says rain in Oslo.',
    );
    const called = agent.session.history.find((item) => item.type === 'function_call');
    assert.equal(called.name, 'get_weather');
    assert.equal(called.output, 'rain in Oslo');
    assert.equal(called.status, 'completed');
  });
}

export async function a_text_message_is_answered_aloud(url) {
  await call(url, {}, async (agent) => {
    agent.session.sendMessage('good morning');
    await agent.until('response.done');
    assert.deepEqual(agent.transcripts(), [
      ['user', 'good morning'],
      ['assistant', 'You said: good morning.'],
    ]);
    assert.ok(agent.sounds.length > 3);
  });
}

export async function messages_in_a_row_are_answered_one_after_another(url) {
  await call(url, {}, async (agent) => {
    agent.session.sendMessage('one');
    agent.session.sendMessage('two');
    await agent.when(
      () => agent.events.filter((event) => event.type === 'response.done').length >= 1,
    );
    await agent.until('response.done', 0, (event) =>
      event.response.output[0].content[0].transcript.includes('two'),
    );
    const statuses = agent.events
      .filter((event) => event.type === 'response.done')
      .map((event) => event.response.status);
    assert.ok(statuses.every((status) => status === 'completed'), `${statuses}`);
  });
}

export async function text_output_needs_no_sound(url) {
  await call(url, { config: { outputModalities: ['text'] } }, async (agent) => {
    agent.session.sendMessage('good morning');
    await agent.until('response.done');
    assert.deepEqual(last(agent.transcripts()), ['assistant', 'You said: good morning.']);
    assert.equal(agent.sounds.length, 0);
  });
}

export async function interrupt_stops_the_answer(url) {
  await call(url, {}, async (agent) => {
    agent.session.sendMessage('tell me a story');
    await agent.until('response.output_audio.delta');
    await pause(700);
    agent.session.interrupt();
    const done = await agent.until('response.done');
    assert.equal(done.response.status, 'cancelled');
    assert.equal(done.response.status_details.reason, 'client_cancelled');
    const truncated = await agent.until('conversation.item.truncated');
    assert.ok(truncated.audio_end_ms >= 600 && truncated.audio_end_ms < 2500);
    assert.equal(agent.interruptions, 1);
    const mark = agent.mark;
    agent.session.sendMessage('good night');
    const next = await agent.until('response.done', mark);
    assert.equal(next.response.output[0].content[0].transcript, 'You said: good night.');
  });
}

export async function the_end_of_the_answer_may_be_interrupted_too(url) {
  // The sound has all been sent, the client still plays it: it truncates after response.done.
  await call(url, {}, async (agent) => {
    agent.session.sendMessage('hello');
    await agent.until('response.done');
    agent.session.interrupt();
    await pause(200);
    assert.deepEqual(agent.errors, []);
  });
}

export async function the_history_can_be_corrected(url) {
  await call(url, {}, async (agent) => {
    agent.session.sendMessage('good morning');
    await agent.until('response.done');
    const mark = agent.mark;
    agent.session.updateHistory((history) =>
      history.map((item) =>
        item.role === 'user'
          ? { ...item, content: [{ type: 'input_text', text: 'good evening' }] }
          : item,
      ),
    );
    await agent.until('conversation.item.deleted', mark);
    const added = await agent.until('conversation.item.added', mark);
    assert.equal(added.previous_item_id, null, '"root" means nothing comes before it');
    assert.deepEqual(agent.transcripts(), [
      ['user', 'good evening'],
      ['assistant', 'You said: good morning.'],
    ]);
  });
}

export async function the_history_can_be_put_in_front_and_cleared(url) {
  await call(url, {}, async (agent) => {
    agent.session.updateHistory([
      message('item_a', 'user', 'input_text', 'first'),
      message('item_b', 'assistant', 'output_text', 'second'),
    ]);
    await agent.when(() => agent.session.history.length === 2);
    agent.session.updateHistory((history) => [
      history[0],
      message('item_between', 'user', 'input_text', 'between'),
      history[1],
    ]);
    await agent.when(() => agent.session.history.length === 3);
    assert.deepEqual(
      agent.session.history.map((item) => item.itemId),
      ['item_a', 'item_between', 'item_b'],
    );
    agent.session.updateHistory([]);
    await agent.when(() => agent.session.history.length === 0);
  });
}

export async function what_was_spoken_can_be_put_back_into_the_history(url) {
  // The SDK keeps `audio: null` in a spoken item and sends it so when the item is created again.
  await call(url, {}, async (agent) => {
    agent.switchMicrophoneOn();
    agent.speak();
    await agent.until('response.done');
    await agent.when(() => agent.transcripts()[0]?.[1] === HEARD);
    const mark = agent.mark;
    agent.session.updateHistory((history) => [
      {
        ...history[0],
        content: [{ type: 'input_audio', audio: null, transcript: 'hello there' }],
      },
      ...history.slice(1),
    ]);
    await agent.until('conversation.item.added', mark);
    assert.equal(agent.transcripts()[0][1], 'hello there');
  });
}

function message(itemId, role, type, text) {
  return { itemId, type: 'message', role, status: 'completed', content: [{ type, text }] };
}

export async function a_spoken_turn_may_be_ended_by_the_client(url) {
  const config = { audio: { input: { turnDetection: null } } };
  await call(url, { config }, async (agent) => {
    agent.speak();
    const frames = agent.frames.splice(0);
    frames.forEach((frame, index) =>
      agent.session.sendAudio(frame, { commit: index === frames.length - 1 }),
    );
    agent.session.transport.requestResponse();
    const done = await agent.until('response.done');
    assert.equal(done.response.output[0].content[0].transcript, ANSWER);
  });
}

export async function telephone_audio_is_accepted(url) {
  const format = { type: 'audio/pcmu' };
  const config = { audio: { input: { format }, output: { format } } };
  await call(url, { config }, async (agent) => {
    agent.session.sendMessage('hello');
    const created = await agent.until('response.created');
    assert.equal(created.response.audio.output.format.type, 'audio/pcmu');
    await agent.until('response.done');
    const soundMs = agent.sounds.reduce((sum, sound) => sum + sound.data.byteLength / 8, 0);
    const expected = 65 * 'You said: hello.'.length;
    assert.ok(Math.abs(soundMs - expected) < 150, `${soundMs} ms`);
  });
}
