// Jupyter kernels. Real: jupyter_server 2.21 and ipykernel, installed by tests/jupyter/install; its tokens are those
// of these tests (config.py).
//
// The token is in the query of the WebSocket, and in a header of each HTTP request; 403 when it has ended. A live
// connection is never looked at again. A second connection of one session throws the first one out. What a kernel
// says while its session has no connection is kept for it, by the real server: unlike elsewhere in these tests.
//
// The kernel ticks (the client starts that, it is Python), and writes down the numbers that it executes. The port of
// the service is a relay before the server, so that its connections can be cut.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

import { freePort, relay } from '../lib/behind.mjs';
import { secret } from '../lib/tokens.mjs';

const here = (path) => new URL(path, import.meta.url).pathname;

export default async function serve(world) {
  const home = mkdtempSync(join(tmpdir(), 'jupyter-'));
  const port = await freePort();
  const said = join(home, 'said');
  const places = { HOME: home, JUPYTER_RUNTIME_DIR: home, JUPYTER_CONFIG_DIR: home, IPYTHONDIR: home };
  const server = spawn(
    here('../../../.tools/jupyter/bin/jupyter-server'),
    [`--config=${here('config.py')}`, `--port=${port}`, `--ServerApp.root_dir=${home}`],
    { env: { ...process.env, ...places, RIG_SECRET: secret, RIG_SAID: said }, stdio: ['ignore', 'ignore', 'pipe'] },
  );
  process.on('exit', () => {
    server.kill();
    rmSync(home, { recursive: true, force: true });
  });

  Object.defineProperty(world.ledger, 'said', {
    enumerable: true,
    get: () => readFileSync(said, { encoding: 'utf8', flag: 'a+' }).split('\n').filter(Boolean).map(Number),
  });
  await new Promise((resolve) => {
    createInterface({ input: server.stderr }).on('line', (line) => {
      if (line.includes('is running at')) resolve();
      if (line.includes('RIG refused')) world.ledger.refused += 1;
      if (line.includes('Connecting to kernel')) world.ledger.connections += 1;
      if (process.env.SHOW) console.error(line);
    });
  });

  world.server = relay(port);
}
