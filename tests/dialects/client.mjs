// Drives the real client library of one service, with a token that never changes, until standard input closes.
//
//   node client.mjs NAME ws://127.0.0.1:PORT TOKEN  →  what lib/client.mjs says
//
// It then disconnects as the library does, and exits with 0.

import { event, leave, sleep } from './lib/client.mjs';

const [name, url, token] = process.argv.slice(2);
// What libraries print is not part of the report.
for (const word of ['log', 'info', 'debug']) console[word] = console.error;
// Nobody reads any more.
process.stdout.on('error', () => process.exit(1));
process.on('uncaughtException', (error) => event('uncaught', error));

const { default: connect } = await import(`./${name}/client.mjs`);
const closed = new Promise((resolve) => process.stdin.on('end', resolve).resume());
const disconnect = await Promise.race([connect(url, token), closed]);
await closed;
leave();
await Promise.race([disconnect?.(), sleep(2000)]);
process.stdout.write('', () => process.exit(0));
