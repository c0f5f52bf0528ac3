// Socket.IO. Real: socket.io 4 on its own Engine.IO.
//
// The token is in the payload of CONNECT (`auth`), where a middleware looks at it; one that has ended is refused with
// `connect_error`. VARIANT: ticks are for the room that the client joins by an event; with `recovers` the service keeps the
// rooms and the events of a client that comes back. At the token's end the application disconnects the socket, as applications do that enforce it.

import { Server } from 'socket.io';

export default function serve(world) {
  const recovers = process.env.VARIANT === 'recovers';
  const recovery = recovers ? { connectionStateRecovery: { skipMiddlewares: false } } : {};
  const io = new Server(world.server, recovery);
  io.use((socket, next) => {
    socket.data.token = world.check(socket.handshake.auth.token);
    next(socket.data.token ? undefined : new Error('jwt expired'));
  });
  io.on('connection', (socket) => {
    world.ledger.connections += 1;
    const cancel = world.atEnd(socket.data.token, () => socket.disconnect(true));
    socket.on('disconnect', cancel);
    socket.on('join', (room) => {
      socket.join(room);
      socket.emit('joined', room);
    });
    socket.on('say', (n, answer) => {
      world.ledger.said.push(n);
      answer(n);
    });
  });
  // What a new connection lacks: the room.
  const audience = process.env.VARIANT ? io.to('ticks') : io;
  world.ticks.on('tick', (n) => audience.emit('tick', n));
}
