// Reads events as a JSON array and says which of them the SDK would ignore, by its own schema.

import { readFileSync } from 'node:fs';

import { realtimeServerEventSchema } from './node_modules/@openai/agents-realtime/dist/openaiRealtimeEvents.mjs';

for (const event of JSON.parse(readFileSync(0, 'utf-8'))) {
  if (event.type.startsWith('kaiwa.')) continue;
  const parsed = realtimeServerEventSchema.safeParse(event);
  if (!parsed.success) console.log(`${JSON.stringify(event)}: ${parsed.error.message}`);
}
