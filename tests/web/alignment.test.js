import assert from "node:assert/strict";
import { test } from "node:test";

import { Words, heardCodePoints, heardUnits, unitsAt } from "../../web/alignment.js";
import { split } from "../../web/sources.js";

const heard = (text, marks, playedMs) => {
  return text.slice(0, heardUnits({ text, marks, playedMs }, new Words()));
};

test("characters beyond 16 bits count once, as they do at the server", () => {
  assert.equal(unitsAt("𠮷野家", 1), 2);
  assert.equal(unitsAt("𠮷野家", 3), 4);
  assert.equal(unitsAt("abc", 99), 3);
});

test("between two marks the position goes in proportion", () => {
  const marks = [[2, 180], [6, 410], [11, 900]];
  assert.equal(heardCodePoints(marks, 0), 0);
  assert.equal(heardCodePoints(marks, 90), 1);
  assert.equal(heardCodePoints(marks, 295), 4);
  assert.equal(heardCodePoints(marks, 900), 11);
  assert.equal(heardCodePoints(marks, 5_000), 11);
});

test("two marks at the same instant do not divide by zero", () => {
  assert.equal(heardCodePoints([[3, 100], [5, 100], [8, 200]], 100), 5);
});

test("a word counts as heard from its beginning, with the point behind it", () => {
  const text = "We are open.";
  const marks = [[2, 200], [6, 400], [12, 1000]];
  assert.equal(heard(text, marks, 0), "");
  assert.equal(heard(text, marks, 1), "We ");
  assert.equal(heard(text, marks, 350), "We are ");
  assert.equal(heard(text, marks, 700), "We are open.");
});

test("Japanese has words without spaces", () => {
  const text = "営業時間は朝九時からです。";
  const some = heard(text, [[text.length, 1_300]], 300);
  assert.ok(some.length >= 3 && some.length < text.length, some);
});

test("words that have no mark yet have not been heard", () => {
  assert.equal(heard("one two three four", [[7, 500]], 2_000), "one two ");
});

test("without marks nobody knows what has been heard", () => {
  assert.equal(heard("one two three four", [], 500), "");
});

test("a passage is cut out of its document by code points", () => {
  assert.deepEqual(split("𠮷: open at nine. Bye.", 3, 16), ["𠮷: ", "open at nine.", " Bye."]);
});
