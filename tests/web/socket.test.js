import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { CLOSE_CODES } from "../../web/endings.js";
import { texts } from "../../web/i18n.js";
import { Socket } from "../../web/socket.js";

const wire = readFileSync(new URL("../../docs/wire.md", import.meta.url), "utf8");

test("the close codes that have a message are those the server sends", () => {
  const cells = [...wire.matchAll(/^\| (\d{4}(?:, \d{4})*) \|/gm)].map(([, cell]) => cell);
  assert.deepEqual(Object.keys(CLOSE_CODES), cells.join(", ").split(", ").sort());
});

test("every reason that a server can give is said in words", () => {
  for (const reason of [...Object.values(CLOSE_CODES), "server-gone", "server-full"]) {
    assert.ok(reason in texts.en, reason);
  }
});

test("a connection that is closing is sent no sound", (context) => {
  const { WebSocket } = globalThis; // which Node has from 22 on
  context.after(() => (globalThis.WebSocket = WebSocket));
  globalThis.WebSocket = { OPEN: 1 };
  const sent = [];
  const socket = new Socket();
  socket.isOpen = true;
  socket.socket = { readyState: 1, bufferedAmount: 0, send: (pcm) => sent.push(pcm) };
  socket.sendAudio("first");
  socket.socket.readyState = 2;
  socket.sendAudio("second");
  assert.deepEqual(sent, ["first"]);
});

for (const [code, reason] of [...Object.entries(CLOSE_CODES), [1006, "server-gone"]]) {
  test(`a call that ends with ${code} is lost as ${reason}`, async () => {
    const socket = new Socket();
    socket.isOpen = true;
    const reasons = [];
    socket.addEventListener("lost", ({ detail }) => reasons.push(detail.reason));
    await socket.lose(Number(code));
    assert.deepEqual(reasons, [reason]);
  });
}

test("a refusal that the browser hides is asked for", async () => {
  const socket = new Socket();
  socket.probe = async () => "server-full";
  const reasons = [];
  socket.addEventListener("lost", ({ detail }) => reasons.push(detail.reason));
  await socket.lose(1006);
  assert.deepEqual(reasons, ["server-full"]);
});

test("a frame is its turn, its place and its samples; one without a whole header is ignored", () => {
  const socket = new Socket();
  const heard = [];
  socket.addEventListener("audio", ({ detail }) => heard.push({ ...detail, pcm: [...detail.pcm] }));
  const view = new DataView(new ArrayBuffer(14));
  view.setUint32(0, 3, true);
  view.setUint32(4, 240, true);
  [1, -2, 3].forEach((sample, n) => view.setInt16(8 + 2 * n, sample, true));
  socket.receive(view.buffer);
  socket.receive(new ArrayBuffer(5));
  assert.deepEqual(heard, [{ turn: 3, startMs: 240, pcm: [1, -2, 3] }]);
});
