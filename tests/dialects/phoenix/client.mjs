// The JavaScript client of Phoenix, with a token in the parameters of the socket. It comes back and joins by itself.

import { Socket } from 'phoenix';
import { WebSocket } from 'ws';

import { event, talk, tick } from '../lib/client.mjs';

export default function connect(url, token) {
  const socket = new Socket(`${url}/socket`, { params: { token }, transport: WebSocket, heartbeatIntervalMs: 5000 });
  socket.onOpen(() => event('open'));
  socket.onClose((close) => event(close));
  socket.onError((error) => event('error', error));
  socket.connect();

  const channel = socket.channel('room:lobby');
  channel.on('tick', ({ n }) => tick(n));
  channel.onError((reason) => event('channel error', reason));
  channel.onClose(() => event('channel closed'));
  channel
    .join()
    .receive('ok', () => event('joined'))
    .receive('error', (error) => event('join refused', error))
    .receive('timeout', () => event('join timeout'));

  const say = (n) =>
    new Promise((resolve, reject) => {
      const push = channel.push('say', { n });
      push.receive('ok', resolve).receive('error', reject).receive('timeout', () => reject('timeout'));
    });
  const quiet = talk(say);
  return () => {
    quiet();
    return new Promise((resolve) => socket.disconnect(resolve));
  };
}
