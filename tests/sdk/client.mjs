// One real Ably client, driven by one JSON argument; prints one JSON line and exits.
//
// The argument (see Scenario in mod.rs): sdk, format, host, port, key | token | authUrl, clientId,
// seconds, rate, presence, channels, authorizeEvery, detach, history, options. The clients in Go and Java
// take the same and do the same. It connects, attaches, publishes numbered messages,
// and reports what an application would have seen: every connection and channel event after the
// first `connected` and `attached`, every acknowledgement, and each message lost, doubled or out of
// order. A line on standard input ends it early.

import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
const scenario = JSON.parse(process.argv[2]);
const legacy = scenario.sdk === 'legacy';
const Ably = require(legacy ? 'ably-legacy' : 'ably-current');
const me = `${process.pid}-${Math.random().toString(36).slice(2, 8)}`;

const report = {
  connected: false,
  connectionId: null,
  connectionEvents: [],
  channelEvents: [],
  presenceEvents: [],
  published: 0,
  acked: 0,
  nacked: 0,
  ackedTwice: 0,
  unanswered: 0,
  nacks: [],
  received: 0,
  fromServer: 0,
  lost: 0,
  doubled: 0,
  reordered: 0,
  authorized: 0,
  failures: [],
  historyItems: null,
  serviceTime: null,
  finalState: null,
  closedCleanly: false,
};

let over = false;
// Events of the client's own detach and attach that are still to come, by channel.
const ownEvents = new Map();
const started = Date.now();
const at = () => Date.now() - started;
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const code = (reason) => (reason ? reason.code : null);

// What of one stream of numbers has been seen: one stream for each channel and each sender.
class Stream {
  constructor() {
    this.seen = new Set();
    this.first = null;
    this.highest = -1;
  }
  take(n) {
    if (this.seen.has(n)) report.doubled += 1;
    else if (n < this.highest) report.reordered += 1;
    this.seen.add(n);
    if (this.first === null) this.first = n;
    this.highest = Math.max(this.highest, n);
  }
  gaps() {
    return this.first === null ? 0 : this.highest - this.first + 1 - this.seen.size;
  }
}
const streams = new Map();
const stream = (channel, sender) => {
  const name = `${sender} ${channel}`;
  if (!streams.has(name)) streams.set(name, new Stream());
  return streams.get(name);
};

// The legacy client takes callbacks where the current one gives promises.
const call = (object, method, ...args) =>
  legacy
    ? new Promise((done, fail) => object[method](...args, (error, value) => (error ? fail(error) : done(value))))
    : object[method](...args);

const credential = {};
for (const name of ['key', 'token', 'authUrl']) if (scenario[name]) credential[name] = scenario[name];
const client = new Ably.Realtime({
  ...credential,
  tls: false,
  realtimeHost: scenario.host,
  restHost: scenario.host,
  port: scenario.port,
  useBinaryProtocol: scenario.format === 'msgpack',
  ...(scenario.clientId ? { clientId: scenario.clientId } : {}),
  ...(legacy ? { log: { level: scenario.logLevel ?? 0 } } : { logLevel: scenario.logLevel ?? 0 }),
  ...scenario.options,
});

// ---- connection

const settled = (states) =>
  new Promise((done) => {
    if (states.includes(client.connection.state)) return done();
    client.connection.on((change) => states.includes(change.current) && done());
  });

// The event's name is the listener's `this`, in both clients.
client.connection.on(function (change) {
  if (over) return;
  if (report.connected || change.current === 'failed') {
    report.connectionEvents.push({
      event: this.event,
      from: change.previous,
      to: change.current,
      code: code(change.reason),
      at: at(),
    });
  }
  if (change.current === 'connected' && !report.connected) {
    report.connected = true;
    report.connectionId = client.connection.id;
  }
});

// ---- channels

async function join(name) {
  const channel = client.channels.get(name);
  await call(channel, 'subscribe', (message) => {
    const own = message.name === 'own' && message.data && message.data.from === me;
    if (own) report.received += 1;
    else if (message.name === 'server') report.fromServer += 1;
    else return;
    stream(name, own ? 'own' : 'server').take(own ? message.data.n : Number(message.data));
  });
  await call(channel, 'attach');
  channel.on(function (change) {
    const { current, previous, resumed, reason } = change;
    if (over) return;
    // What it asked for itself is not reported; `detached` has a reason.
    const asked = (previous === 'detaching' && current === 'detached') || (!reason && this.event !== 'update');
    const toCome = ownEvents.get(name) ?? 0;
    if (asked && toCome > 0) return ownEvents.set(name, toCome - 1);
    report.channelEvents.push({ channel: name, event: this.event, from: previous, to: current, resumed, code: code(reason), at: at() });
  });
  if (scenario.presence) {
    await call(channel.presence, 'subscribe', (member) => {
      if (!over) report.presenceEvents.push({ channel: name, action: String(member.action), clientId: member.clientId, at: at() });
    });
    await call(channel.presence, 'enter', 'here');
  }
  return channel;
}

// ---- publishing

const unanswered = new Set();
const acked = new Map();

function publish(channel, n) {
  const name = `${channel.name} ${n}`;
  report.published += 1;
  unanswered.add(name);
  const answered = (error) => {
    if (!unanswered.delete(name)) {
      report.ackedTwice += 1;
    } else if (error) {
      report.nacked += 1;
      report.nacks.push({ code: error.code, message: error.message });
    } else {
      report.acked += 1;
      acked.set(name, { channel: channel.name, n });
    }
  };
  const data = { from: me, n };
  if (legacy) channel.publish('own', data, answered);
  else channel.publish('own', data).then(() => answered(null), answered);
}

// ---- what an application may do besides

const failing = (what) => (error) => report.failures.push(`${what}: ${error.message}`);

// Renews its token itself.
function authorizeOften() {
  if (!(scenario.authorizeEvery > 0)) return () => {};
  const renew = () => call(client.auth, 'authorize').then(() => (report.authorized += 1), failing('authorize'));
  const timer = setInterval(renew, scenario.authorizeEvery * 1000);
  return () => clearInterval(timer);
}

// Detaches every channel and attaches it again, when nothing is on its way.
async function detachAndAttach(channels) {
  await settle();
  for (const channel of channels) {
    // detaching, detached, attaching, attached
    ownEvents.set(channel.name, 4);
    await call(channel, 'detach');
    await call(channel, 'attach');
    if (scenario.presence) await call(channel.presence, 'enter', 'here');
  }
}

// Asks for what the service remembers, and for its time. A failure is told, no more.
async function readHistory(channels) {
  const limit = { limit: 1000 };
  const pages = channels.map((channel) => call(channel, 'history', limit));
  const count = (all) => (report.historyItems = all.reduce((sum, page) => sum + page.items.length, 0));
  await Promise.all(pages).then(count, failing('history'));
  await call(client, 'time').then((time) => (report.serviceTime = time), failing('time'));
}

const missing = () => [...acked.values()].filter(({ channel, n }) => !stream(channel, 'own').seen.has(n)).length;
const failed = () => ['failed', 'suspended', 'closed'].includes(client.connection.state);

async function until(isSo, ms) {
  const end = Date.now() + ms;
  while (!isSo() && Date.now() < end) await sleep(5);
}

// Waits for what is on its way.
async function settle() {
  await until(() => unanswered.size === 0 || failed(), scenario.settle * 1000);
  if (scenario.echo !== false) await until(() => missing() === 0 || failed(), scenario.settle * 1000);
}

// ---- the run

let stopped = false;
process.stdin.on('data', () => (stopped = true));
process.stdin.unref?.();

async function run() {
  await Promise.race([settled(['connected', 'failed']), sleep(15000)]);
  if (!report.connected) return;
  const joining = Promise.all(scenario.channels.map(join));
  const channels = await Promise.race([joining, sleep(15000)]);
  if (!channels) throw new Error('channels did not attach');
  const end = Date.now() + scenario.seconds * 1000;
  const pause = scenario.rate > 0 ? 1000 / scenario.rate : 50;
  let due = Date.now();
  let detached = false;
  const authorizedEnough = authorizeOften();
  for (let n = 0; Date.now() < end && !stopped && !failed(); n += 1) {
    if (scenario.rate > 0) for (const channel of channels) publish(channel, n);
    if (scenario.detach && !detached && Date.now() > end - scenario.seconds * 500) {
      detached = true;
      await detachAndAttach(channels);
      due = Date.now();
    }
    // Against the clock, so that a late timer does not lower the rate.
    due += pause;
    await sleep(Math.max(0, due - Date.now()));
  }
  authorizedEnough();
  await settle();
  if (scenario.history) await readHistory(channels);
}

async function close() {
  // An operation that fails with its connection is told before the connection's own event.
  if (report.nacked > 0 || report.error) await until(failed, 1000);
  over = true;
  report.finalState = client.connection.state;
  report.unanswered = unanswered.size;
  const gaps = [...streams].filter(([name]) => name.startsWith('server ')).reduce((sum, [, s]) => sum + s.gaps(), 0);
  report.lost = (scenario.echo === false ? 0 : missing()) + gaps;
  const closed = settled(['closed', 'failed']);
  client.close();
  await Promise.race([closed, sleep(5000)]);
  report.closedCleanly = client.connection.state === 'closed';
}

run()
  .catch((error) => (report.error = String(error && error.message ? error.message : error)))
  .then(close)
  .then(() => process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0)));
