// A job service as a Cloudflare Worker: one Durable Object for each job, run by workerd (serve.mjs).
//
//   POST /jobs               → {jobId, token, expiresIn}
//   GET  /ws?jobId=&token=   the token is judged here, and may stand in a subprotocol too or instead
//   POST /token/refresh      {jobId, oldToken} → {token, expiresIn}; 403 too early, 401 unknown or revoked
//   GET  /jobs/ID/ledger     what the job saw (ledger.mjs)
//   POST /jobs/ID/fault      what is to go wrong next: drop, refresh, handshake
//
// A connection belongs to the token that it was made with: an alarm closes it, 1008, when that ends.
// Sockets are accepted for hibernation, as services do that hold many. Then nobody but the object answers
// a Close: the runtime's web_socket_auto_reply_to_close does not reach these sockets, on any date.

import { DurableObject } from 'cloudflare:workers';

import * as book from './ledger.mjs';
import { chain, find, issue } from './tokens.mjs';

const PREFIX = 'bookstrack-auth.';

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const answer = ({ status, body }) => Response.json(body, { status });
const isOpen = (socket) => socket.readyState === WebSocket.OPEN;

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    const job = (id) => env.JOBS.get(env.JOBS.idFromName(String(id)));
    const said = () => request.json().catch(() => ({}));
    const id = url.pathname.split('/')[2];
    switch (`${request.method} ${url.pathname.replace(/^\/jobs\/[^/]+\//, '/jobs/ID/')}`) {
      case 'GET /ws':
        return job(url.searchParams.get('jobId')).fetch(request);
      case 'POST /jobs': {
        const jobId = crypto.randomUUID();
        return answer(await job(jobId).create(jobId));
      }
      case 'POST /token/refresh': {
        const { jobId, oldToken } = await said();
        return answer(await job(jobId).refresh(String(oldToken)));
      }
      case 'GET /jobs/ID/ledger':
        return answer(await job(id).told());
      case 'POST /jobs/ID/fault':
        return answer(await job(id).fault(await said()));
      default:
        return answer({ status: 404, body: { error: 'no such thing' } });
    }
  },
};

export class Job extends DurableObject {
  // What outlives the object; null where nobody asked for this job.
  job = null;

  constructor(ctx, env) {
    super(ctx, env);
    ctx.blockConcurrencyWhile(async () => {
      this.job = (await ctx.storage.get('job')) ?? null;
      if (env.PROGRESS > 0) setInterval(() => this.job && this.progress(), env.PROGRESS);
    });
  }

  // ---- tokens

  create(jobId) {
    this.job = { ...book.ledger(), chain: chain(), faults: {} };
    return { status: 200, body: { jobId, ...this.issued() } };
  }

  issued() {
    const { name } = issue(this.job.chain, Date.now(), { lifetime: this.env.LIFETIME, grace: this.env.GRACE });
    return { token: name, expiresIn: this.env.LIFETIME / 1000 };
  }

  async refresh(oldToken) {
    if (!this.job) return { status: 401, body: { error: 'unknown job' } };
    const { number, token, wrong } = find(this.job.chain, Date.now(), oldToken);
    const fault = this.fails('refresh');
    const refuse = (status, error) => {
      book.refreshed(this.job, number, status, error, null);
      return { status, body: { error } };
    };
    if (fault?.kind === 'fail') return refuse(503, 'failed on purpose');
    if (wrong) return refuse(401, `${wrong} token`);
    if (token.expires - Date.now() > this.env.WINDOW) return refuse(403, 'too early');
    const body = this.issued();
    book.refreshed(this.job, number, 200, fault?.kind ?? 'ok', this.job.chain.tokens.length - 1);
    await this.watch();
    if (fault?.kind === 'slow') await sleep(fault.ms);
    // The token is issued, and the answer goes astray: as it looks behind a gateway.
    return fault?.kind === 'lost' ? { status: 502, body: null } : { status: 200, body };
  }

  // ---- connections

  async fetch(request) {
    const url = new URL(request.url);
    const name = url.searchParams.get('client') ?? 'anonymous';
    const protocols = (request.headers.get('Sec-WebSocket-Protocol') ?? '').split(',').map((p) => p.trim());
    const offered = protocols.find((p) => p.startsWith(PREFIX));
    const fault = this.job && this.fails('handshake');
    if (fault?.kind === 'slow') await sleep(fault.ms);

    const { status, why, number } = this.judge(name, url.searchParams.get('token'), offered?.slice(PREFIX.length));
    const refusal = fault?.kind === 'refuse' ? { status: 503, why: 'refused on purpose' } : { status, why };
    if (refusal.status) {
      if (this.job) book.refused(this.job, name, refusal.status, refusal.why);
      return Response.json({ error: refusal.why }, { status: refusal.status });
    }
    if (request.headers.get('Upgrade') !== 'websocket') return new Response('a WebSocket, please', { status: 426 });
    const socket = await this.accept(name, number);
    // Strict clients fail where they offered a subprotocol and none is chosen.
    return new Response(null, { status: 101, webSocket: socket, headers: offered ? { 'Sec-WebSocket-Protocol': offered } : {} });
  }

  // What is wrong with a handshake, or the number of its token.
  judge(name, ...tokens) {
    const shown = tokens.filter((token) => token != null);
    if (!this.job) return { status: 401, why: 'unknown job' };
    if (shown.length === 0) return { status: 401, why: 'no token' };
    if (shown.some((token) => token !== shown[0])) return { status: 401, why: 'tokens disagree' };
    const { number, wrong } = find(this.job.chain, Date.now(), shown[0]);
    if (wrong) return { status: 401, why: `${wrong} token` };
    if (this.env.SINGLE && this.open(name).length > 0) return { status: 409, why: 'already connected' };
    return { number };
  }

  async accept(name, token) {
    const [theirs, ours] = Object.values(new WebSocketPair());
    const number = book.opened(this.job, name, token);
    this.ctx.acceptWebSocket(ours, [name]);
    ours.serializeAttachment({ name, number, token });
    if (this.env.GREETING && number > 0) ours.send(JSON.stringify({ type: 'reconnected', at: Date.now() }));
    await this.watch();
    return theirs;
  }

  // The open sockets, of one client or of all.
  open(name) {
    return this.ctx.getWebSockets(name).filter(isOpen);
  }

  webSocketMessage(socket, text) {
    const { name } = socket.deserializeAttachment();
    const message = JSON.parse(text);
    if (message.type !== 'work') return;
    if (!isOpen(socket)) return void book.late(this.job, name);
    book.work(this.job, name, message.seq);
    socket.send(JSON.stringify({ type: 'done', seq: message.seq }));
  }

  webSocketClose(socket, code, reason) {
    const { name, number } = socket.deserializeAttachment();
    book.closed(this.job, name, number, code === 1006 ? 'loss' : 'client', code, reason);
    const sayable = ![1005, 1006, 1015].includes(code);
    if (this.env.ANSWERS) sayable ? socket.close(code, reason) : socket.close();
  }

  webSocketError(socket, error) {
    const { name, number } = socket.deserializeAttachment();
    book.closed(this.job, name, number, 'loss', 1006, String(error));
  }

  // ---- time

  // The next token to end of those that a connection belongs to.
  async watch() {
    const ends = this.open().map((socket) => this.tokenOf(socket).ends);
    if (ends.length > 0) await this.ctx.storage.setAlarm(Math.min(...ends));
  }

  tokenOf(socket) {
    return this.job.chain.tokens[socket.deserializeAttachment().token];
  }

  async alarm() {
    for (const socket of this.open()) {
      if (Date.now() < this.tokenOf(socket).ends) continue;
      const { name, number } = socket.deserializeAttachment();
      book.closed(this.job, name, number, 'service', 1008, 'Token expired');
      socket.close(1008, 'Token expired');
    }
    await this.watch();
  }

  // A number to every open connection, or to the newest of each client. It only counts what somebody is sent.
  progress() {
    const number = (socket) => socket.deserializeAttachment().number;
    const newest = (socket) => this.open(socket.deserializeAttachment().name).every((other) => number(other) <= number(socket));
    const sockets = this.open().filter((socket) => this.env.MODE === 'all' || newest(socket));
    if (sockets.length === 0) return;
    this.job.progress += 1;
    for (const socket of sockets) socket.send(JSON.stringify({ type: 'progress', n: this.job.progress }));
  }

  // ---- tests

  told() {
    if (!this.job) return { status: 404, body: { error: 'unknown job' } };
    const { chain, faults, ...told } = this.job;
    const tokens = chain.tokens.map((token) => ({
      ...token,
      issued: token.issued - told.started,
      expires: token.expires - told.started,
      ends: token.ends - told.started,
    }));
    return { status: 200, body: { ...told, tokens } };
  }

  // {refresh | handshake: KIND, ms} stands until it has struck once; {drop: "connection"} strikes at once:
  // the object starts again with what it knew, and its sockets end without a Close.
  async fault({ refresh, handshake, drop, ms = 1000 }) {
    if (!this.job) return { status: 404, body: { error: 'unknown job' } };
    if (refresh) this.job.faults.refresh = { kind: refresh, ms };
    if (handshake) this.job.faults.handshake = { kind: handshake, ms };
    if (drop) {
      for (const socket of this.ctx.getWebSockets()) {
        const { name, number } = socket.deserializeAttachment();
        book.closed(this.job, name, number, 'loss', 1006, 'dropped on purpose');
      }
      await this.ctx.storage.put('job', this.job);
      // After the answer.
      setTimeout(() => this.ctx.abort('dropped on purpose'), 5);
    }
    return { status: 200, body: {} };
  }

  fails(what) {
    const fault = this.job.faults[what];
    delete this.job.faults[what];
    return fault;
  }
}
