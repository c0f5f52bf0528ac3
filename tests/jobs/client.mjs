// Legacy WebSocket clients, one or many in this process, driven by one line of JSON; prints one line of it.
//
// It says `ready` when it can begin, and reads a Scenario (client.rs): kind, who[] (name, url, protocols, headers),
// seconds, rate, size, settle, silent, leave, back, options. Each client sends numbered work, as fast as it is told
// to, and waits for nothing; it knows no way to a new token. A second line on standard input ends it early.
//
//   ws           npm `ws`: strict about subprotocols
//   undici       the WebSocket of browsers, as Node has it
//   partysocket  comes back by itself, with the URL that it was made with, and sends then what it was given meanwhile

import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

import PartySocket from 'partysocket/ws';
import { WebSocket as Undici } from 'undici';
import Ws from 'ws';

import { Numbers, summary } from './seen.mjs';

const input = createInterface({ input: process.stdin });
process.stdout.write('ready\n');
const [line] = await once(input, 'line');
const scenario = JSON.parse(line);
const { kind, options } = scenario;
const started = performance.now();
let begun = started;
const at = () => Math.round(performance.now() - started);

const make = {
  ws: ({ url, protocols, headers }) => new Ws(url, protocols, { headers, ...options }),
  undici: ({ url, protocols, headers }) => new Undici(url, { protocols, headers, ...options }),
  partysocket: ({ url, protocols, headers }) => {
    class WithHeaders extends Ws {
      constructor(url, protocols) {
        super(url, protocols, { headers });
      }
    }
    return new PartySocket(url, protocols, { WebSocket: WithHeaders, ...options });
  },
}[kind];

let stopped = false;
for (const word of ['line', 'close']) input.on(word, () => (stopped = true));

class Client {
  opens = [];
  closes = [];
  failures = [];
  other = [];
  sent = 0;
  answered = 0;
  pauses = [];
  longest = { ms: 0, at: 0 };
  closeTook = null;
  done = new Numbers();
  progress = new Numbers();
  waiting = new Map();
  over = false;

  constructor(who) {
    this.who = who;
    this.dial();
  }

  dial() {
    const socket = make(this.who);
    this.socket = socket;
    socket.addEventListener('open', () => this.opens.push({ at: at(), protocol: socket.protocol }));
    socket.addEventListener('error', ({ message, error }) => this.failures.push({ at: at(), message: String(message ?? error) }));
    socket.addEventListener('message', ({ data }) => this.heard(JSON.parse(data)));
    socket.addEventListener('close', ({ code, reason, wasClean }) => {
      this.closes.push({ at: at(), code, reason, clean: wasClean ?? null });
      const again = scenario.back !== null && kind !== 'partysocket' && !this.over;
      if (again) setTimeout(() => this.over || this.dial(), scenario.back * 1000);
    });
  }

  heard(message) {
    if (message.type === 'progress') return this.progress.take(message.n);
    if (message.type !== 'done') return this.other.push(message);
    this.done.take(message.seq);
    const since = this.waiting.get(message.seq);
    if (since === undefined) return;
    this.waiting.delete(message.seq);
    this.answered += 1;
    const ms = performance.now() - since;
    this.pauses.push(ms);
    if (ms > this.longest.ms) this.longest = { ms, at: at() };
  }

  // partysocket takes what it cannot send yet; the others are not asked while they are not open.
  work() {
    if (kind !== 'partysocket' && this.socket.readyState !== 1) return;
    const seq = this.sent;
    this.sent += 1;
    this.waiting.set(seq, performance.now());
    this.socket.send(JSON.stringify({ type: 'work', seq, body: 'x'.repeat(scenario.size) }));
  }

  // With a Close, and until it is answered; or without one, the socket destroyed under the client.
  async leave(how) {
    const before = this.closes.length;
    const from = performance.now();
    if (how === 'destroy') {
      const raw = kind === 'partysocket' ? this.socket._ws : this.socket;
      if (!raw.terminate) throw new Error(`${kind} cannot destroy its socket`);
      raw.terminate();
    } else {
      this.socket.close(1000, 'leaving');
    }
    while (this.closes.length === before && performance.now() - from < scenario.settle * 1000) await sleep(1);
    if (this.closes.length > before) this.closeTook = performance.now() - from;
  }

  // `late` is a share of the time between two messages: clients that beat as one would wait for each other.
  async run(late) {
    const { seconds, rate, silent, leave } = scenario;
    const end = begun + seconds * 1000;
    const now = () => (performance.now() - begun) / 1000;
    const beat = 1000 / (rate || 20);
    let [due, left] = [begun + late * beat, false];
    await sleep(due - begun);
    while (performance.now() < end && !stopped) {
      const quiet = rate === 0 || (silent && now() >= silent.from && now() < silent.from + silent.for);
      if (!quiet) this.work();
      // Against the clock, so that a late timer does not lower the rate.
      due = Math.max(due + beat, performance.now() - 1000);
      await sleep(Math.max(0, due - performance.now()));
      if (leave && !left && now() >= leave.at) {
        left = true;
        await this.leave(leave.how);
      }
    }
    const patience = performance.now() + scenario.settle * 1000;
    const hopes = () => this.waiting.size > 0 && (kind === 'partysocket' || this.socket.readyState === 1);
    while (hopes() && performance.now() < patience) await sleep(5);
  }

  async finish() {
    this.over = true;
    this.finalState = this.socket.readyState;
    if (this.socket.readyState === 1) await this.leave('close');
    else this.socket.close();
  }

  report() {
    const { opens, closes, failures, other, sent, answered, longest, closeTook, finalState } = this;
    const done = { ...this.done.report(), lost: this.waiting.size };
    const seen = { opens, closes, failures, other, sent, answered, done, progress: this.progress.report() };
    return { kind, name: this.who.name, ...seen, longest, closeTook, openAtEnd: finalState === 1 };
  }
}

const clients = scenario.who.map((who) => new Client(who));
// Two hundred handshakes take a while: nobody works, and no time of the scenario runs, before the last one is done.
const settled = () => clients.every(({ opens, closes }) => opens.length + closes.length > 0);
while (!settled() && at() < scenario.settle * 1000) await sleep(5);
begun = performance.now();
await Promise.all(clients.map((client, n) => client.run(n / clients.length)));
await Promise.all(clients.map((client) => client.finish()));
const report = {
  clients: clients.map((client) => client.report()),
  pauses: summary(clients.flatMap((client) => client.pauses)),
};
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0));
