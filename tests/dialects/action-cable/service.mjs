// Action Cable, the protocol actioncable-v1-json. Real: Action Cable of Rails on puma, installed by tests/origins/install.
//
// The token is in the query, where `connect` looks at it (cable.ru). One that has ended is refused after the upgrade,
// with `disconnect` and the reason `unauthorized`. At the token's end the application closes the connection with the reason
// `token_expired` and `reconnect: false`, as AnyCable does. The service sends `ping` each three seconds; a client that
// hears nothing for six takes its connection for stale. A second `subscribe` of one identifier has no answer.
//
// The port of the service is a relay before the server, so that its connections can be cut.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

import { freePort, relay } from '../lib/behind.mjs';
import { secret } from '../lib/tokens.mjs';

const here = (path) => new URL(path, import.meta.url).pathname;

export default async function serve(world) {
  const port = await freePort();
  const server = spawn('puma', ['-b', `tcp://127.0.0.1:${port}`, '-e', 'production', '-t', '1:8', here('cable.ru')], {
    env: { ...process.env, RIG_SECRET: secret },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  process.on('exit', () => server.kill());
  const { ledger } = world;
  const told = {
    connected: () => (ledger.connections += 1),
    refused: () => (ledger.refused += 1),
    expired: () => (ledger.expired += 1),
    said: (n) => ledger.said.push(Number(n)),
  };
  createInterface({ input: server.stderr }).on('line', (line) => {
    const [rig, what, n] = line.split(' ');
    if (rig === 'RIG') told[what](n);
    if (process.env.SHOW) console.error(line);
  });
  await new Promise((resolve) => {
    createInterface({ input: server.stdout }).on('line', (line) => line.includes('Listening on') && resolve());
  });
  world.server = relay(port);
}
