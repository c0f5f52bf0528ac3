// Runs the job service under workerd, the runtime of Cloudflare Workers, on a free port of loopback.
//
//   node serve.mjs '{"LIFETIME":4000,…}'  →  {"port":…} on stdout; ends when standard input does
//
// The argument is the Worker's bindings (`Options` in mod.rs). Nothing is fetched: `cf: false` keeps
// miniflare from asking where on earth it is, and a Worker reaches no network of itself.

import { fileURLToPath } from 'node:url';

import { Log, LogLevel, Miniflare } from 'miniflare';

const file = (name) => fileURLToPath(new URL(name, import.meta.url));

const service = new Miniflare({
  host: '127.0.0.1',
  port: 0,
  cf: false,
  log: new Log(LogLevel.ERROR),
  compatibilityDate: '2026-04-01',
  modulesRoot: file('.'),
  modules: ['worker.mjs', 'ledger.mjs', 'tokens.mjs'].map((name) => ({ type: 'ESModule', path: file(name) })),
  bindings: JSON.parse(process.argv[2]),
  // A sleeping object would forget its ledger: what a hibernating service stores is not the subject here.
  durableObjects: { JOBS: { className: 'Job', useSQLite: true, unsafePreventEviction: true } },
});

// Then nothing is left to do, and Node ends once the runtime's directory is gone.
process.stdin.on('end', () => service.dispose()).resume();

const { port } = await service.ready;
process.stdout.write(`${JSON.stringify({ port: Number(port) })}\n`);
