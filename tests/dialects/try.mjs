// Runs one rig by hand, without a sidecar, and says what the client saw.
//
//   node try.mjs NAME [SECONDS]         17 seconds, if not said
//   node try.mjs NAME SECONDS --frames  also writes the first frames to NAME/frames.txt
//   node try.mjs NAME SECONDS --kill    also cuts all connections in the middle

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

import { tap } from './lib/tap.mjs';

const [name, seconds = '17', also] = process.argv.slice(2);
const here = (file) => new URL(file, import.meta.url).pathname;
const run = (...args) => spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });

const service = run(here('service.mjs'), name);
const [line] = await once(createInterface({ input: service.stdout }), 'line');
const { port, control } = JSON.parse(line);
const ask = async (path, method = 'GET') => (await fetch(`http://127.0.0.1:${control}${path}`, { method })).json();

const { token } = await ask('/token');
const wire = await tap(port, token);
const started = Date.now();
const client = run(here('client.mjs'), name, `ws://127.0.0.1:${wire.port}`, token);
const kinds = ['also', 'opened', 'said', 'answered', 'unanswered'];
const seen = { ticks: 0, gaps: 0, doubled: 0, lastTickAt: 0, events: 0 };
for (const kind of kinds) seen[kind] = 0;
let last = null;
createInterface({ input: client.stdout }).on('line', (text) => {
  const told = JSON.parse(text);
  const at = ((Date.now() - started) / 1000).toFixed(1);
  if ('event' in told || 'unanswered' in told) console.log(at.padStart(5), text);
  if ('event' in told) seen.events += 1;
  for (const kind of kinds) if (kind in told) seen[kind] += 1;
  if (!('tick' in told)) return;
  seen.ticks += 1;
  seen.lastTickAt = Number(at);
  if (last !== null && told.tick <= last) seen.doubled += 1;
  if (last !== null && told.tick > last) seen.gaps += told.tick - last - 1;
  last = Math.max(last ?? 0, told.tick);
});
await sleep(seconds * 500);
if (also === '--kill') console.log('      killed', (await ask('/kill', 'POST')).killed);
await sleep(seconds * 500);
client.stdin.end();
const [code] = await once(client, 'exit');
console.log(JSON.stringify({ name, ...seen, exit: code }));
console.log(JSON.stringify(await ask('/ledger')));
if (also === '--frames') writeFileSync(here(`${name}/frames.txt`), `${wire.frames().join('\n')}\n`);
service.stdin.end();
wire.close();
