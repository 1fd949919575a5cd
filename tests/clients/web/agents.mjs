// Conversations of an unmodified `@openai/agents-realtime` with the server, over WebRTC.
// The microphone says a sentence of speech every few seconds, unless it is muted.

import { tool } from '/sdk/openai-realtime-agents.mjs';

import { call, check, pause, same } from './call.mjs';

const HEARD = 'hi there';
const ANSWER = `You said: ${HEARD}.`;
const ANSWER_S = 0.065 * ANSWER.length;
const LEVEL = 0.122; // RMS of what mocks/tts.py hums.

export async function connecting_names_the_call_and_confirms_its_settings(url) {
  return call(url, {}, async (agent) => {
    agent.session.mute(true);
    check(agent.transport.callId?.startsWith('rtc_'), `${agent.transport.callId} names a call`);
    same(agent.transport.status, 'connected');
    same(agent.events[0].type, 'session.created');
    const updated = await agent.until('session.updated');
    same(updated.session.instructions, 'Be brief.');
    same(updated.session.audio.input.turn_detection.interrupt_response, true);
  });
}

export async function a_spoken_turn_is_answered_in_sound_and_fills_the_history(url) {
  return call(url, {}, async (agent) => {
    await agent.until('input_audio_buffer.speech_started');
    const ear = await agent.listen();
    const started = await agent.until('output_audio_buffer.started');
    const done = await agent.until('response.done');
    const stopped = await agent.until('output_audio_buffer.stopped');
    await ear.fallsSilent();
    same(done.response.status, 'completed');
    same([started.response_id, stopped.response_id], [done.response.id, done.response.id]);
    const playedS = (stopped.at - started.at) / 1000;
    check(Math.abs(playedS - ANSWER_S) < 0.5, `${playedS} s were played of ${ANSWER_S}`);
    const { seconds, level } = ear.heard();
    check(Math.abs(seconds - ANSWER_S) < 0.2, `${seconds} s were heard of ${ANSWER_S}`);
    check(Math.abs(level / LEVEL - 1) < 0.2, `it was heard at ${level}, and sent at ${LEVEL}`);
    await agent.when(() => agent.transcripts().length >= 2 && agent.transcripts()[0][1], 'history');
    same(agent.transcripts().slice(0, 2), [
      ['user', HEARD],
      ['assistant', ANSWER],
    ]);
  });
}

export async function speech_over_the_answer_ends_it_and_its_sound(url) {
  return call(url, {}, async (agent) => {
    agent.session.mute(true);
    agent.session.sendMessage('tell me a story');
    await agent.until('output_audio_buffer.started');
    const ear = await agent.listen();
    await pause(1200);
    const mark = agent.mark;
    agent.session.mute(false);
    const cleared = await agent.until('output_audio_buffer.cleared', mark);
    const done = await agent.until('response.done', mark);
    same(done.response.status, 'cancelled');
    same(done.response.status_details.reason, 'turn_detected');
    same(cleared.response_id, done.response.id);
    const truncated = await agent.until('conversation.item.truncated', mark);
    check(truncated.audio_end_ms > 800, `${truncated.audio_end_ms} ms were heard`);
    await ear.fallsSilent();
    const next = await agent.until('response.done', mark, (event) => event !== done);
    same(next.response.output[0].content[0].transcript, ANSWER);
    const itemId = truncated.item_id;
    const story = agent.session.history.find((item) => item.itemId === itemId);
    check(story.content[0].transcript.length < 200, story.content[0].transcript);
  });
}

export async function the_sdk_interrupts_by_itself(url) {
  return call(url, {}, async (agent) => {
    agent.session.mute(true);
    agent.session.sendMessage('tell me a story');
    await agent.until('output_audio_buffer.started');
    const ear = await agent.listen();
    await pause(700);
    const mark = agent.mark;
    agent.session.interrupt();
    await agent.until('output_audio_buffer.cleared', mark);
    const done = await agent.until('response.done', mark);
    same(done.response.status, 'cancelled');
    await ear.fallsSilent();
  });
}

export async function a_tool_is_called_and_its_result_spoken(url) {
  const asked = [];
  const getWeather = tool({
    name: 'get_weather',
    description: 'The weather in a city.',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' } },
      required: ['city'],
      additionalProperties: false,
    },
    execute: async ({ city }) => {
      asked.push(city);
      return `rain in ${city}`;
    },
  });
  return call(url, { tools: [getWeather] }, async (agent) => {
    agent.session.mute(true);
    agent.session.sendMessage('what is the weather');
    const done = await agent.until('response.done', 0, (event) =>
      event.response.output.some((item) => item.type === 'message'),
    );
    same(asked, ['Oslo']);
    same(done.response.output[0].content[0].transcript, 'The tool says rain in Oslo.');
    await agent.until('output_audio_buffer.stopped');
    const called = agent.session.history.find((item) => item.type === 'function_call');
    same([called.name, called.output, called.status], ['get_weather', 'rain in Oslo', 'completed']);
  });
}
