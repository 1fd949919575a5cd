import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { texts } from "../../web/i18n.js";
import { CLOSE_CODES, Socket } from "../../web/socket.js";

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
  socket.state = "open";
  socket.socket = { readyState: 1, bufferedAmount: 0, send: (pcm) => sent.push(pcm) };
  socket.sendAudio("first");
  socket.socket.readyState = 2;
  socket.sendAudio("second");
  assert.deepEqual(sent, ["first"]);
});

const BROKEN = Object.entries(CLOSE_CODES).filter(([code]) => code !== "1000");

test("a call that is over is not tried again", async () => {
  const socket = new Socket();
  socket.state = "open";
  const said = [];
  socket.addEventListener("state", ({ detail }) => said.push([detail.state, detail.reason]));
  await socket.lose(1000);
  assert.deepEqual(said, [["closed", "call-ended"]]);
});

for (const [code, reason] of [...BROKEN, [1006, "server-gone"]]) {
  test(`a call that ends with ${code} says ${reason} and is tried again`, async (context) => {
    context.mock.timers.enable({ apis: ["setInterval"] });
    const socket = new Socket();
    socket.state = "open";
    const said = [];
    socket.addEventListener("state", ({ detail }) => said.push([detail.state, detail.reason]));
    await socket.lose(Number(code));
    assert.deepEqual(said, [["waiting", reason]]);
  });
}

test("a server that stopped is said to have stopped until it is back", async (context) => {
  context.mock.timers.enable({ apis: ["setInterval"] });
  const socket = new Socket();
  socket.probe = async () => "server-gone";
  const reasons = [];
  socket.addEventListener("state", ({ detail }) => reasons.push(detail.reason));
  for (const [state, code] of [["open", 1001], ["connecting", 1006], ["open", 1006], ["connecting", 1006]]) {
    socket.state = state;
    await socket.lose(code);
  }
  assert.deepEqual(reasons, ["server-stopping", "server-stopping", "server-gone", "server-gone"]);
});
