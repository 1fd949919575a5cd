import assert from "node:assert/strict";
import test from "node:test";

import { remembered } from "../../web/remembered.js";

test("what was kept is read, and what is no JSON, or forbidden, is as if it were not there", () => {
  const kept = new Map([
    ["kaiwa.avoided", '{"why":"no-media"}'],
    ["kaiwa.broken", "{why"],
  ]);
  globalThis.localStorage = { getItem: (name) => kept.get(name) ?? null };
  assert.deepEqual(remembered.read("avoided"), { why: "no-media" });
  assert.equal(remembered.read("broken"), null);
  assert.equal(remembered.read("absent"), null);
  globalThis.localStorage = undefined;
  assert.equal(remembered.read("avoided"), null);
});
