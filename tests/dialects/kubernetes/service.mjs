// Kubernetes, `exec` in a pod over WebSocket. Mock, after kubernetes/apiserver (authentication/request/websocket/
// protocol.go) and the subprotocol v5.channel.k8s.io.
//
// A browser offers its token as `base64url.bearer.authorization.k8s.io.` and the base64url of the token, beside a
// subprotocol: the server takes the token's entry out, and needs the other one. 401 when it has ended. A stream that
// lives is never looked at again; it is one process, and ends with its connection.
//
// Frames are binary: the number of a channel, then bytes. 0 is the process's input, 1 its output, 3 how it ended.
// Assumed: the process writes `tick PID N`, and `heard PID N` for each line N that it reads.

import { WebSocketServer } from 'ws';

const BEARER = 'base64url.bearer.authorization.k8s.io.';
const CHANNELS = 'v5.channel.k8s.io';
const [INPUT, OUTPUT] = [0, 1];

export default function serve(world) {
  const server = new WebSocketServer({ noServer: true, handleProtocols: () => CHANNELS });
  let processes = 100;

  world.server.on('upgrade', (request, stream, head) => {
    const offers = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((offer) => offer.trim());
    const encoded = offers.find((offer) => offer.startsWith(BEARER))?.slice(BEARER.length) ?? '';
    const refuse = (line) => stream.end(`HTTP/1.1 ${line}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
    if (!/^\/api\/v1\/namespaces\/[^/]+\/pods\/[^/]+\/exec\?/.test(request.url)) return refuse('404 Not Found');
    if (!world.check(String(Buffer.from(encoded, 'base64url')))) return refuse('401 Unauthorized');
    if (!offers.includes(CHANNELS)) return refuse('400 Bad Request');
    server.handleUpgrade(request, stream, head, opened);
  });

  function opened(socket) {
    world.ledger.connections += 1;
    const pid = ++processes;
    const write = (line) => socket.send(Buffer.from(`${String.fromCharCode(OUTPUT)}${line}\n`));
    const tick = (n) => write(`tick ${pid} ${n}`);
    world.ticks.on('tick', tick);
    socket.on('close', () => world.ticks.off('tick', tick));
    socket.on('message', (data) => {
      if (data[0] !== INPUT) return;
      for (const line of String(data.subarray(1)).split('\n').filter(Boolean)) {
        world.ledger.said.push(Number(line));
        write(`heard ${pid} ${line}`);
      }
    });
  }
}
