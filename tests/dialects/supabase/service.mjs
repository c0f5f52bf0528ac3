// Supabase Realtime. Mock, after supabase/realtime (realtime_channel.ex, user_socket.ex, v2_serializer.ex; 2026)
// and Phoenix 1.7 (socket.ex). Protocol version 2.0.0: [join_ref, ref, topic, event, payload].
//
// The socket is opened with the public `apikey`, which does not end. Each channel has the token of its `phx_join`:
// when that has ended the channel tells it (`system`) and closes (`phx_close`); the socket stays. `access_token`
// gives a channel a new token, and has no answer. As in the service, the first is taken at once, later ones are
// held for up to ten seconds, or until the old token ends. A refused join is answered after five seconds.
//
// Assumed: broadcasts of `tick` came by the REST interface (JSON, no binary frame), rows of `ticks` were inserted.
// Not here: row level security, limits of rates, private channels, replay.

import { randomUUID } from 'node:crypto';

import { WebSocketServer } from 'ws';

import { claims, left } from '../lib/tokens.mjs';

const THROTTLE = 10_000;
const REFUSED_AFTER = 5_000;

// A push of `broadcast` by realtime-js is binary: kind 3, five lengths, the encoding, five texts, the payload.
function unpack(data) {
  let at = 7;
  const texts = [...data.subarray(1, 6)].map((length) => String(data.subarray(at, (at += length))));
  const [joinRef, ref, topic, event] = texts;
  return [joinRef, ref, topic, 'broadcast', { type: 'broadcast', event, payload: JSON.parse(data.subarray(at)) }];
}

// The service takes a hash of the parameters: alike after another join.
const idOf = (params) => [...JSON.stringify(params)].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) % 2 ** 27, 7);

class Channel {
  pending = null;
  appliedAt = null;
  presence = null;

  constructor(socket, [joinRef, ref, topic, , { config = {}, access_token: shown }]) {
    Object.assign(this, { socket, joinRef, topic, config, shown });
    this.name = topic.slice('realtime:'.length);
    this.changes = (config.postgres_changes ?? []).map((params) => ({ ...params, id: idOf(params) }));
    this.key = config.presence?.key || randomUUID();
    this.joinedWith = ref;
  }

  push(event, payload, ref = null) {
    this.socket.send(JSON.stringify([this.joinRef, ref, this.topic, event, payload]));
  }

  reply(ref, status, response = {}) {
    this.push('phx_reply', { status, response }, ref);
  }

  system(extension, status, message) {
    this.push('system', { extension, status, message, channel: this.name });
  }
}

export default function serve(world) {
  const channels = new Set();
  const server = new WebSocketServer({ server: world.server, path: '/realtime/v1/websocket' });

  const others = ({ topic }) => [...channels].filter((channel) => channel.topic === topic);
  const present = (topic) => others({ topic }).filter(({ presence }) => presence);
  const meta = ({ key, presence }) => ({ [key]: { metas: [presence] } });

  // What is broadcast to a topic has no join_ref.
  function broadcast(topic, event, payload, who = others({ topic })) {
    for (const { socket } of who) socket.send(JSON.stringify([null, null, topic, event, payload]));
  }

  function track(channel, presence) {
    const leaves = channel.presence ? meta(channel) : {};
    channel.presence = presence;
    const joins = presence ? meta(channel) : {};
    const watching = others(channel).filter(({ config }) => config.presence?.enabled);
    broadcast(channel.topic, 'presence_diff', { joins, leaves }, watching);
  }

  function end(channel) {
    if (!channels.delete(channel)) return;
    channel.forget?.();
    if (channel.presence) track(channel, null);
  }

  function close(channel) {
    channel.push('phx_close', {}, channel.joinRef);
    end(channel);
  }

  // Null, or what is wrong with the token that the channel has now.
  function wrong(channel) {
    const token = claims(channel.shown);
    if (!token) return 'The token provided is not a valid JWT';
    if (left(token) <= 0) return `Token has expired ${Math.round(-left(token) / 1000)} seconds ago`;
    channel.forget?.();
    channel.forget = world.atEnd(token, () => {
      if (channel.pending) {
        world.ledger.expired -= 1;
        return renew(channel, channel.pending);
      }
      channel.system('system', 'error', wrong(channel));
      close(channel);
    });
    return null;
  }

  function renew(channel, shown) {
    Object.assign(channel, { shown, pending: null, appliedAt: Date.now() });
    const error = wrong(channel);
    if (!error) return;
    world.ledger.refused += 1;
    channel.system('system', 'error', error);
    close(channel);
  }

  function join(socket, frame) {
    const channel = new Channel(socket, frame);
    const before = others(channel).find((other) => other.socket === socket);
    if (before) close(before);
    const error = wrong(channel);
    if (error) {
      world.ledger.refused += 1;
      const reason = `InvalidJWTToken: ${error}`;
      return void setTimeout(() => channel.reply(channel.joinedWith, 'error', { reason }), REFUSED_AFTER);
    }
    channels.add(channel);
    channel.reply(channel.joinedWith, 'ok', { postgres_changes: channel.changes });
    if (channel.config.presence?.enabled) {
      channel.push('presence_state', Object.assign({}, ...present(channel.topic).map(meta)));
    }
    if (channel.changes.length) channel.system('postgres_changes', 'ok', 'Subscribed to PostgreSQL');
  }

  function received(socket, frame) {
    const [joinRef, ref, topic, event, payload] = frame;
    const answer = (status, response = {}) => {
      socket.send(JSON.stringify([joinRef, ref, topic, 'phx_reply', { status, response }]));
    };
    if (topic === 'phoenix' && event === 'heartbeat') return answer('ok');
    if (event === 'phx_join') return join(socket, frame);
    const channel = others({ topic }).find((other) => other.socket === socket);
    if (!channel) return answer('error', { reason: 'unmatched topic' });
    switch (event) {
      case 'phx_leave':
        answer('ok');
        return close(channel);
      case 'access_token': {
        const { access_token: shown } = payload;
        if (!shown || shown === channel.shown) return;
        const since = channel.appliedAt === null ? THROTTLE : Date.now() - channel.appliedAt;
        if (since >= THROTTLE) return renew(channel, shown);
        const held = () => channel.pending && channels.has(channel) && renew(channel, channel.pending);
        if (!channel.pending) setTimeout(held, THROTTLE - since);
        return void (channel.pending = shown);
      }
      case 'presence':
        answer('ok');
        if (payload.event === 'untrack') return void (channel.presence && track(channel, null));
        return track(channel, { phx_ref: randomUUID().slice(0, 8), ...payload.payload });
      case 'broadcast':
        world.ledger.said.push(payload.payload.n);
        if (channel.config.broadcast?.ack) answer('ok');
    }
  }

  server.on('connection', (socket, request) => {
    if (!new URL(request.url, 'http://service').searchParams.get('apikey')) return socket.terminate();
    world.ledger.connections += 1;
    socket.on('message', (data, binary) => received(socket, binary ? unpack(data) : JSON.parse(data)));
    socket.on('close', () => [...channels].filter((channel) => channel.socket === socket).forEach(end));
  });

  // What `send` of realtime-js falls back to while its channel is not joined.
  world.server.on('request', async (request, response) => {
    const chunks = await request.toArray();
    const { messages = [] } = JSON.parse(String(Buffer.concat(chunks)) || '{}');
    const good = request.url.includes('/api/broadcast') && world.check(request.headers.authorization?.slice(7));
    if (good) for (const { payload } of messages) world.ledger.said.push(payload.n);
    response.writeHead(good ? 202 : 401).end();
  });

  world.ticks.on('tick', (n) => {
    broadcast('realtime:room', 'broadcast', { event: 'tick', payload: { n }, type: 'broadcast' });
    for (const channel of channels) {
      if (channel.changes.length === 0) continue;
      const where = { schema: 'public', table: 'ticks', type: 'INSERT' };
      const what = { columns: [{ name: 'n', type: 'int8' }], record: { n }, errors: null };
      const data = { ...where, ...what, commit_timestamp: new Date().toISOString() };
      const ids = channel.changes.map(({ id }) => id);
      broadcast(channel.topic, 'postgres_changes', { data, ids }, [channel]);
    }
  });
}
