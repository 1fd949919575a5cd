import assert from "node:assert/strict";
import { test } from "node:test";

import { Transcript } from "../../web/transcript.js";

const partial = (text, stable_chars) => ({
  type: "kaiwa.transcript.partial",
  item_id: "u",
  text,
  stable_chars,
});
const final = (transcript) => ({
  type: "conversation.item.input_audio_transcription.completed",
  item_id: "u",
  content_index: 0,
  transcript,
});
const answer = [
  { type: "kaiwa.turn.sources", response_id: "r", sources: [{ source: "a.md" }] },
  { type: "response.output_item.added", response_id: "r", item: { id: "a", type: "message" } },
  { type: "response.output_audio_transcript.delta", item_id: "a", delta: "We are " },
  { type: "kaiwa.speech.marks", item_id: "a", marks: [[2, 200], [7, 400]] },
  { type: "response.output_audio_transcript.delta", item_id: "a", delta: "open." },
  { type: "kaiwa.speech.marks", item_id: "a", marks: [[12, 900]] },
];
const done = (status, status_details) => ({
  type: "response.done",
  response: { id: "r", status, status_details },
});

function tell(...events) {
  const transcript = new Transcript();
  for (const event of events) transcript.receive(event);
  return transcript;
}

test("a caller's words grow, are revised, and become final", () => {
  const transcript = tell({ type: "input_audio_buffer.speech_started", item_id: "u" });
  assert.equal(transcript.find("u").state, "listening");
  transcript.receive(partial("𠮷 what are yo", 6));
  assert.deepEqual([transcript.find("u").state, transcript.find("u").stable], ["partial", 7]);
  transcript.receive(final("what are your hours "));
  assert.equal(transcript.find("u").text, "what are your hours");
  assert.equal(transcript.find("u").state, "final");
});

test("a partial that overtakes its final changes nothing", () => {
  assert.equal(tell(partial("what", 4), final("what now"), partial("what", 4)).find("u").text, "what now");
});

test("speech in which nothing was understood leaves no line", () => {
  const started = { type: "input_audio_buffer.speech_started", item_id: "u" };
  assert.deepEqual(tell(started, final("")).entries, []);
  const timeline = { type: "kaiwa.turn.timeline", item_id: "u", outcome: "no_speech", spans: [] };
  assert.deepEqual(tell(started, timeline).entries, []);
});

test("sources that come before the answer stand under it", () => {
  assert.deepEqual(tell(...answer).find("a").sources, [{ source: "a.md" }]);
});

test("words are heard as they are played", () => {
  const transcript = tell(...answer);
  const heard = () => transcript.find("a").text.slice(0, transcript.find("a").heard);
  assert.equal(heard(), "");
  transcript.played("a", 300);
  assert.equal(heard(), "We are ");
  transcript.finished("a");
  assert.equal(heard(), "We are open.");
});

test("a cut answer keeps its mark where it was cut", () => {
  const transcript = tell(...answer);
  transcript.cut("a", 100);
  transcript.receive(done("cancelled"));
  transcript.played("a", 900);
  transcript.finished("a");
  const { state, heard, text } = transcript.find("a");
  assert.deepEqual([state, text.slice(0, heard)], ["cut", "We "]);
});

test("an answer that is only written is all there at once", () => {
  const transcript = tell(answer[1], {
    type: "response.output_text.delta",
    item_id: "a",
    delta: "We are open.",
  }, done("completed"));
  const { isSpoken, heard, state } = transcript.find("a");
  assert.deepEqual([isSpoken, heard, state], [false, 12, "said"]);
});

test("a failed answer says why", () => {
  const details = { type: "failed", error: { message: "llm: not reachable" } };
  const entry = tell(...answer, done("failed", details)).find("a");
  assert.deepEqual([entry.state, entry.error], ["failed", "llm: not reachable"]);
});

test("an answer cancelled before its first word leaves no line", () => {
  assert.deepEqual(tell(answer[1], done("cancelled")).entries, []);
});

test("a lost session ends what was unfinished and draws one line", () => {
  const transcript = tell(...answer, partial("and on", 0));
  transcript.divide("s2");
  transcript.divide("s3");
  assert.deepEqual(transcript.entries.map(({ role, state }) => [role, state]), [
    ["agent", "cut"],
    ["divider", undefined],
  ]);
});

test("a function call is no line of the conversation", () => {
  const call = { type: "response.output_item.added", response_id: "r", item: { id: "f", type: "function_call" } };
  assert.deepEqual(tell(call).entries, []);
});
