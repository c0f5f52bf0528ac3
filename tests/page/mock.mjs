// A sidecar's admin server, played: the page and its parts with the real headers, snapshots of a scenario.
//
//   node mock.mjs SCENARIO [PORT]     serves until it is ended, and says where: to look at the page while writing it
//
// The parts are read from src/admin/page at each request, so a change is seen by loading again.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { pathToFileURL } from 'node:url';
import { SCENARIOS } from './scenarios.mjs';

const PARTS = new URL('../../src/admin/page/', import.meta.url);
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const FILES = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/page.css': ['page.css', 'text/css; charset=utf-8'],
  '/page.js': ['page.js', 'text/javascript; charset=utf-8'],
};

export class Mock {
  #scenario;
  #began;
  #server = null;
  #streams = new Set();
  #timer;
  port = 0;
  /// At most this many streams; beyond it 503, as the contract has it.
  places = 8;
  /// A silent sidecar keeps its connections and says nothing.
  silent = false;
  /// A mute one answers questions, and its streams say nothing.
  mute = false;

  constructor(scenario, tick = 1000) {
    this.play(scenario);
    this.#timer = setInterval(() => this.#tell(), tick);
  }

  play(scenario) {
    if (!Object.hasOwn(SCENARIOS, scenario)) throw new Error(`no scenario ${scenario}: ${Object.keys(SCENARIOS).join(', ')}`);
    this.#scenario = SCENARIOS[scenario];
    this.#began = Date.now() / 1000;
  }

  snapshot() {
    return JSON.stringify(this.#scenario(Date.now() / 1000, this.#began));
  }

  /// Listens; after `lose`, on the port it had.
  async serve(port = this.port) {
    this.#server = createServer((request, response) => this.#answer(request, response));
    await new Promise((resolve, reject) => this.#server.once('error', reject).listen(port, '127.0.0.1', resolve));
    this.port = this.#server.address().port;
    return this;
  }

  get url() {
    return `http://127.0.0.1:${this.port}/`;
  }

  /// As if it were killed: every connection is reset, and nothing listens any more.
  async lose() {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    this.#streams.clear();
    await closed;
  }

  async end() {
    clearInterval(this.#timer);
    await this.lose();
  }

  /// Ends each stream in order, as the real one does after fifteen minutes.
  endStreams() {
    for (const stream of this.#streams) stream.end();
  }

  #tell(streams = this.#streams) {
    if (this.silent || this.mute) return;
    for (const stream of streams) stream.write(`event: status\ndata: ${this.snapshot()}\n\n`);
  }

  async #answer(request, response) {
    if (this.silent) return;
    const { pathname } = new URL(request.url, 'http://localhost');
    const head = { 'content-security-policy': POLICY, 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' };
    if (Object.hasOwn(FILES, pathname)) {
      const [file, type] = FILES[pathname];
      response.writeHead(200, { ...head, 'content-type': type }).end(await readFile(new URL(file, PARTS)));
    } else if (pathname === '/status.json') {
      response.writeHead(200, { ...head, 'content-type': 'application/json' }).end(this.snapshot());
    } else if (pathname === '/events' && this.#streams.size < this.places) {
      response.writeHead(200, { ...head, 'content-type': 'text/event-stream' });
      this.#streams.add(response);
      response.on('close', () => this.#streams.delete(response));
      this.#tell([response]);
    } else {
      response.writeHead(pathname === '/events' ? 503 : 404, head).end();
    }
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const mock = await new Mock(process.argv[2] ?? 'calm').serve(Number(process.argv[3] ?? 0));
  console.log(`${process.argv[2] ?? 'calm'} at ${mock.url}`);
}
