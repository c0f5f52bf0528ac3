// socket.io-client over WebSocket, with a token in `auth`.

import { io } from 'socket.io-client';

import { event, talk, tick } from '../lib/client.mjs';

export default function connect(url, token) {
  const socket = io(url, { transports: ['websocket'], auth: { token } });
  socket.on('connect', () => event('connected'));
  if (process.env.VARIANT) socket.once('connect', () => socket.emit('join', 'ticks'));
  socket.on('connect_error', (error) => event('connect error', error));
  socket.on('disconnect', (reason) => event('disconnected', reason));
  socket.on('tick', tick);
  const quiet = talk((n) => socket.timeout(5000).emitWithAck('say', n));
  return () => {
    quiet();
    socket.close();
  };
}
