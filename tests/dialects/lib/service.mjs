// What all services of these tests have: a port, a count of ticks, an end for each token, and a control port.
//
//   GET  /token   {token, expires_in}; each one is new (or POST)
//   POST /kill    destroys all TCP connections of the clients, without a Close; {killed}
//   GET  /ledger  {connections, refused, expired, said}
//
// connections: what the service let in. refused: tokens that it turned away, at a handshake, an init, a join, …
// expired: live connections or channels that it ended (or told) because their token ended.
// said: the numbers of the client, in the order in which they were accepted.

import { EventEmitter, once } from 'node:events';
import { createServer } from 'node:http';

import { LIFETIME, claims, left, mint } from './tokens.mjs';

const TICK = 200;

export class World {
  // A service may put another server in its place.
  server = createServer();
  ledger = { connections: 0, refused: 0, expired: 0, said: [] };
  // Emits `tick` with the next number. It remembers nothing for those who do not listen.
  ticks = new EventEmitter({ captureRejections: true }).setMaxListeners(0);
  #sockets = new Set();

  constructor() {
    let tick = 0;
    setInterval(() => this.ticks.emit('tick', ++tick), TICK);
  }

  /// The claims of a token that is good now, or null; then it is counted.
  check(token) {
    const found = claims(token);
    if (found && left(found) > 0) return found;
    this.ledger.refused += 1;
    return null;
  }

  /// Calls `end` when the token has ended. Returns what takes it back.
  atEnd(token, end) {
    let timer;
    const wait = () => {
      // Node's timers can fire a millisecond before the wall clock is there.
      if (left(token) > 0) return void (timer = setTimeout(wait, left(token)));
      this.ledger.expired += 1;
      end();
    };
    wait();
    return () => clearTimeout(timer);
  }

  #control(method, url) {
    switch (`${method} ${url}`) {
      case 'GET /token':
      case 'POST /token':
        return { token: mint(), expires_in: LIFETIME };
      case 'POST /kill': {
        const killed = this.#sockets.size;
        for (const socket of this.#sockets) socket.destroy();
        return { killed };
      }
      case 'GET /ledger':
        return this.ledger;
      default:
        return null;
    }
  }

  async listen() {
    this.server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => {});
    });
    const control = createServer((request, response) => {
      const body = this.#control(request.method, request.url);
      response.writeHead(body ? 200 : 404, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
    });
    for (const server of [this.server, control]) {
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
    }
    return { port: this.server.address().port, control: control.address().port };
  }
}
