// A relay that writes down what passes: requests, answers, and the frames of WebSockets.
//
// `> ` is what the client sent, `< ` what the service sent; a second connection and those after it have
// their number before it. The token is shown as TOKEN, also where it is encoded. A binary frame is shown as text,
// with a dot for what cannot be read, and in hexadecimal. Pings are left out.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

import { Receiver } from 'ws';

const MOST = 40;
const CONNECTIONS = 3;
const ALIKE = 4; // of frames that differ in their numbers and identifiers alone
const VARIABLE = /[\da-f]{8}-[\da-f-]{27}|_?[\da-f]{20,}|\d+/g;
const HEADERS = /^(sec-websocket-protocol|authorization|cookie|content-type):/i;

const base64url = (text) => Buffer.from(text).toString('base64url');

function printable(data, binary) {
  if (!binary) return String(data);
  const text = String(data);
  if (!/[^\x20-\x7e\s]/.test(text)) return `binary ${text}`;
  const shorten = (whole, most) => (whole.length > most ? `${whole.slice(0, most)}…` : whole);
  return `binary ${shorten(text.replace(/[^\x20-\x7e]+/g, '·'), 600)} = ${shorten(data.toString('hex'), 128)}`;
}

export async function tap(port, token) {
  const lines = [];
  const kinds = new Map();
  let connections = 0;

  function note(number, arrow, text) {
    const decoded = text.replace(/header-([\w-]{20,})/g, (_, part) => {
      return `header-<base64url of ${Buffer.from(part, 'base64url')}>`;
    });
    const shown = decoded
      .replaceAll(token, 'TOKEN')
      .replaceAll(base64url(token), '<base64url of TOKEN>')
      .replaceAll('\n', '\\n');
    const kind = arrow + shown.replace(/ = [\da-f]+.?$/, '').replace(VARIABLE, '#');
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    if (kinds.get(kind) > ALIKE || lines.length >= MOST || number > CONNECTIONS) return;
    lines.push(`${number > 1 ? `${number} ` : ''}${arrow} ${shown}`);
  }

  // The head of the first request or answer, then frames.
  function reader(number, arrow, isServer) {
    let head = '';
    let frames = null;
    return (chunk) => {
      if (frames) return void frames.write(chunk);
      head += chunk.toString('latin1');
      const end = head.indexOf('\r\n\r\n');
      if (end < 0) return;
      const [first, ...headers] = head.slice(0, end).split('\r\n');
      note(number, arrow, [first, ...headers.filter((line) => HEADERS.test(line))].join(' | '));
      const rest = Buffer.from(head.slice(end + 4), 'latin1');
      const isSocket = /upgrade: websocket/i.test(head.slice(0, end)) && (isServer || first.includes(' 101 '));
      if (!isSocket) {
        if (rest.length) note(number, arrow, String(rest));
        head = '';
        return;
      }
      frames = new Receiver({ isServer, skipUTF8Validation: true });
      frames.on('message', (data, binary) => note(number, arrow, printable(data, binary)));
      frames.on('conclude', (code, reason) => note(number, arrow, `Close ${code} ${reason}`.trimEnd()));
      frames.on('error', () => {});
      if (rest.length) frames.write(rest);
    };
  }

  const server = createServer((client) => {
    const number = ++connections;
    const service = connect(port, '127.0.0.1');
    const up = reader(number, '>', true);
    const down = reader(number, '<', false);
    // A copy: the reader takes the mask off in place.
    client.on('data', (chunk) => (up(Buffer.from(chunk)), service.write(chunk)));
    service.on('data', (chunk) => (down(Buffer.from(chunk)), client.write(chunk)));
    service.on('close', () => (note(number, '<', 'the TCP connection ends'), client.destroy()));
    client.on('close', () => service.destroy());
    for (const socket of [client, service]) socket.on('error', () => {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { port: server.address().port, frames: () => lines, close: () => server.close() };
}
