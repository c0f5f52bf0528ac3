// Starts one service of these tests on free ports of loopback, until standard input closes.
//
//   node service.mjs NAME  →  {"port":…,"control":…}
//
// TTL: how long a token lives, in seconds (4).

import { World } from './lib/service.mjs';

const [name] = process.argv.slice(2);
const { default: serve } = await import(`./${name}/service.mjs`);

for (const stream of [process.stdin.resume(), process.stdout]) {
  for (const word of ['end', 'error']) stream.on(word, () => process.exit(0));
}
const world = new World();
await serve(world);
const nothing = (_, response) => response.writeHead(404).end();
if (world.server.listenerCount('request') === 0) world.server.on('request', nothing);
process.stdout.write(`${JSON.stringify(await world.listen())}\n`);
