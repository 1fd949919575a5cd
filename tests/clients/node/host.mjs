// node host.mjs SCENARIOS.mjs SPEECH_FOLDER
//
// Plays what standard input names, one scenario at a time, and says what went wrong.
// Standard output belongs to that; whatever the SDK logs goes to standard error.

import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const SCENARIO_LIMIT_MS = 60_000;

console.log = console.info = console.debug = console.error;

async function serve(scenarios) {
  const answer = (value) => process.stdout.write(`${JSON.stringify(value)}\n`);
  process.stdout.write('ready\n');
  for await (const line of createInterface({ input: process.stdin })) {
    const { scenario, url } = JSON.parse(line);
    let problem = null;
    try {
      await withLimit(scenarios[scenario](url), SCENARIO_LIMIT_MS);
    } catch (error) {
      problem = error instanceof Error ? error.stack : JSON.stringify(error);
    }
    answer(problem);
  }
}

async function withLimit(work, limitMs) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took longer than ${limitMs} ms`)), limitMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

await serve(await import(pathToFileURL(resolve(process.argv[2])).href));
process.exit(0);
