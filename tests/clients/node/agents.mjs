// Conversations of an unmodified `@openai/agents-realtime` with the server, over its WebSocket.
// A scenario fails at any `error` of the session that it did not ask for.

import assert from 'node:assert/strict';
import { setTimeout as pause } from 'node:timers/promises';

import { tool } from '@openai/agents-realtime';
import { z } from 'zod';

import { call } from './call.mjs';

const HEARD = 'hi there';
const ANSWER = `You said: ${HEARD}.`;

const last = (items) => items[items.length - 1];

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
    const added = agent.events.find((event) => event.type === 'conversation.item.added');
    // Without the key the SDK throws where nobody can catch it, and the process ends.
    assert.deepEqual(added.item.content, [{ type: 'input_audio', transcript: null }]);
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
    await pause(1200);
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

export async function the_sdk_cancels_itself_where_we_may_not_interrupt(url) {
  const turnDetection = { type: 'server_vad', silenceDurationMs: 200, interruptResponse: false };
  await call(url, { config: { audio: { input: { turnDetection } } } }, async (agent) => {
    agent.switchMicrophoneOn();
    agent.session.sendMessage('tell me a story');
    await agent.until('response.output_audio.delta');
    await pause(500);
    const mark = agent.mark;
    agent.speak();
    const done = await agent.until('response.done', mark);
    assert.equal(done.response.status_details.reason, 'client_cancelled');
    assert.equal(agent.interruptions, 1);
    await agent.until('conversation.item.truncated', mark);
    const next = await agent.until('response.done', mark, (event) => event !== done);
    assert.equal(next.response.output[0].content[0].transcript, ANSWER);
  });
}

export async function a_tool_may_be_announced_before_it_is_called(url) {
  const getWeather = tool({
    name: 'get_weather',
    description: 'The weather in a city.',
    parameters: z.object({ city: z.string() }),
    execute: async ({ city }) => `rain in ${city}`,
  });
  await call(url, { tools: [getWeather] }, async (agent) => {
    agent.session.sendMessage('what is the forecast');
    await agent.until('response.done', 0, (event) =>
      event.response.output.every((item) => item.type === 'message'),
    );
    assert.deepEqual(agent.transcripts(), [
      ['user', 'what is the forecast'],
      ['assistant', 'Let me look. One moment please.'],
      ['assistant', 'The tool says rain in Oslo.'],
    ]);
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

export async function a_refused_answer_does_not_block_the_next_one(url) {
  await call(url, {}, async (agent) => {
    agent.session.transport.requestResponse({ output_modalities: ['smell'] });
    const refused = await agent.until('error');
    assert.match(refused.error.event_id, /^agents_js_response_create_/);
    assert.equal(agent.errors.length, 1);
    agent.errors.length = 0;
    agent.session.sendMessage('good morning');
    const done = await agent.until('response.done');
    assert.equal(done.response.status, 'completed');
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
        content: [{ type: 'input_audio', audio: null, transcript: 'hello again' }],
      },
      ...history.slice(1),
    ]);
    await agent.until('conversation.item.added', mark);
    assert.equal(agent.transcripts()[0][1], 'hello again');
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
