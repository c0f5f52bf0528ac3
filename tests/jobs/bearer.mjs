// A small service without Durable Objects: `ws` under Node, tokens in a header or a cookie.
//
//   POST /login {user}   → {access_token, expires_in}
//   POST /renew          the old token in Authorization → the same; the old one lives to its own end
//   GET  /ws             Authorization: Bearer, or the cookie `token`; 401, or an echo to that connection alone
//   GET  /ledger         what the service saw (ledger.mjs)
//   POST /fault          {drop: "connection"}: cuts what is open, without a Close
//
// At its token's end a connection is closed with 4401.
//
//   node bearer.mjs '{"LIFETIME":4000}'  →  {"port":…} on stdout; ends when standard input does

import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

import { WebSocketServer } from 'ws';

import * as book from './ledger.mjs';

const { LIFETIME } = JSON.parse(process.argv[2]);

const ledger = book.ledger();
const numbers = new Map();
const users = [];

function login(user) {
  const name = randomUUID();
  const issued = book.at(ledger);
  numbers.set(name, users.push(user) - 1);
  ledger.tokens.push({ issued, expires: issued + LIFETIME, ends: issued + LIFETIME, superseded: 0 });
  return { access_token: name, expires_in: LIFETIME / 1000 };
}

// The number of the token that a request shows, and what is wrong with it, if anything.
function shown({ headers }) {
  const bearer = /^Bearer (\S+)$/i.exec(headers.authorization ?? '')?.[1];
  const cookie = /(?:^|;\s*)token=([^;\s]+)/.exec(headers.cookie ?? '')?.[1];
  if (!bearer && !cookie) return { number: null, wrong: 'no token' };
  if (bearer && cookie && bearer !== cookie) return { number: null, wrong: 'tokens disagree' };
  const number = numbers.get(bearer ?? cookie) ?? null;
  if (number === null) return { number, wrong: 'unknown token' };
  return { number, wrong: book.at(ledger) < ledger.tokens[number].ends ? null : 'expired token' };
}

// ---- HTTP

function renew(request) {
  const { number, wrong } = shown(request);
  const status = wrong ? 401 : 200;
  const body = wrong ? { error: wrong } : login(users[number]);
  book.refreshed(ledger, number, status, wrong ?? 'ok', wrong ? null : users.length - 1);
  return [status, body];
}

async function answer(request) {
  let text = '';
  for await (const part of request) text += part;
  const said = text ? JSON.parse(text) : {};
  switch (`${request.method} ${request.url}`) {
    case 'POST /login':
      return [200, login(said.user ?? 'anonymous')];
    case 'POST /renew':
      return renew(request);
    case 'GET /ledger':
      return [200, ledger];
    case 'POST /fault':
      if (said.drop) for (const socket of sockets.clients) socket.terminate();
      return [200, {}];
    default:
      return [404, { error: 'no such thing' }];
  }
}

const server = createServer(async (request, response) => {
  const [status, body] = await answer(request).catch((error) => [400, { error: error.message }]);
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
});

// ---- WebSocket

const sockets = new WebSocketServer({ noServer: true });

server.on('upgrade', (request, stream, head) => {
  const { number, wrong } = shown(request);
  if (!wrong) return sockets.handleUpgrade(request, stream, head, (socket) => serve(socket, number));
  book.refused(ledger, users[number] ?? 'anonymous', 401, wrong);
  stream.end('HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
});

function serve(socket, token) {
  const user = users[token];
  const connection = book.opened(ledger, user, token);
  let timer;
  // Node's timers can fire a millisecond before the wall clock is there.
  const expire = () => {
    const left = ledger.tokens[token].ends - book.at(ledger);
    if (left > 0) return void (timer = setTimeout(expire, left));
    book.closed(ledger, user, connection, 'service', 4401, 'token expired');
    socket.close(4401, 'token expired');
  };
  expire();
  socket.on('message', (text) => {
    if (socket.readyState !== socket.OPEN) return void book.late(ledger, user);
    const { seq } = JSON.parse(text);
    book.work(ledger, user, seq);
    socket.send(JSON.stringify({ type: 'done', seq }));
  });
  socket.on('error', () => {});
  socket.on('close', (code, reason) => {
    clearTimeout(timer);
    book.closed(ledger, user, connection, code === 1006 ? 'loss' : 'client', code, String(reason));
  });
}

process.stdin.on('end', () => process.exit(0)).resume();
server.listen(0, '127.0.0.1', () => process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`));
