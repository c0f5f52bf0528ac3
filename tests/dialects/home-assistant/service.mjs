// Home Assistant's WebSocket API. Mock, after home-assistant/core (websocket_api: http.py, auth.py, connection.py,
// commands.py; 2026).
//
// The first frame of the client has the token. Every later one has an `id`, which must rise. A client that can
// take them (`coalesce_messages`) is sent several messages as one array when they are there at the same time: here
// every fifth tick, with the event `beat`. The real service looks at a token once; it cancels a live connection
// when the token's parent is revoked, with Close 1000.
//
// CUT=1: a live connection is cancelled when its token ends. Assumed: as if it were revoked.
// Not here: users, permissions, bans of an address after refused tokens.

import { WebSocketServer } from 'ws';

const VERSION = '2026.11.0';
const AUTH_WITHIN = 10_000;

class Connection {
  lastId = 0;
  coalesces = false;
  subscriptions = new Map();
  queue = [];

  constructor(world, socket) {
    Object.assign(this, { world, socket });
    this.send({ type: 'auth_required', ha_version: VERSION });
    const late = setTimeout(() => socket.close(1000), AUTH_WITHIN);
    socket.once('message', (text) => (clearTimeout(late), this.authenticate(JSON.parse(text))));
    socket.once('close', () => clearTimeout(late));
  }

  // What is sent in the same turn of the event loop is there at the same time.
  send(message) {
    if (this.queue.push(message) === 1) setImmediate(() => this.flush());
  }

  flush() {
    const texts = this.queue.splice(0).map((message) => JSON.stringify(message));
    if (texts.length > 1 && this.coalesces) this.socket.send(`[${texts.join(',')}]`);
    else for (const text of texts) this.socket.send(text);
  }

  authenticate({ type, access_token: shown }) {
    const { world, socket } = this;
    const token = type === 'auth' && world.check(shown);
    if (!token) {
      this.send({ type: 'auth_invalid', message: 'Invalid access token or password' });
      this.flush();
      return void socket.close(1000);
    }
    world.ledger.connections += 1;
    this.send({ type: 'auth_ok', ha_version: VERSION });
    const fire = (n) => {
      this.event('tick', { n });
      if (n % 5 === 0) this.event('beat', { n });
    };
    world.ticks.on('tick', fire);
    socket.once('close', () => world.ticks.off('tick', fire));
    if (process.env.CUT === '1') socket.once('close', world.atEnd(token, () => socket.close(1000)));
    socket.on('message', (text) => [JSON.parse(text)].flat().forEach((message) => this.command(message)));
  }

  event(type, data) {
    const context = { id: 'rig', parent_id: null, user_id: null };
    const event = { event_type: type, data, origin: 'LOCAL', time_fired: new Date().toISOString(), context };
    for (const [id, wanted] of this.subscriptions) if (wanted === type) this.send({ id, type: 'event', event });
  }

  command(message) {
    const { id, type } = message;
    const fail = (code, text) => this.send({ id, type: 'result', success: false, error: { code, message: text } });
    const succeed = (result = null) => this.send({ id, type: 'result', success: true, result });
    if (!(id > this.lastId)) return fail('id_reuse', 'Identifier values have to increase.');
    this.lastId = id;
    switch (type) {
      case 'supported_features':
        this.coalesces = Boolean(message.features.coalesce_messages);
        return succeed();
      case 'subscribe_events':
        this.subscriptions.set(id, message.event_type);
        return succeed();
      case 'unsubscribe_events':
        if (!this.subscriptions.delete(message.subscription)) return fail('not_found', 'Subscription not found.');
        return succeed();
      case 'call_service':
        this.world.ledger.said.push(message.service_data.n);
        return succeed({ context: { id: 'rig', parent_id: null, user_id: 'user' }, response: null });
      case 'ping':
        return this.send({ id, type: 'pong' });
      default:
        return fail('unknown_command', 'Unknown command.');
    }
  }
}

export default function serve(world) {
  const server = new WebSocketServer({ server: world.server, path: '/api/websocket' });
  server.on('connection', (socket) => new Connection(world, socket));
}
