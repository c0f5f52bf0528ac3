// OpenAI, the Realtime API. Mock, after OpenAI's reference of its events (GA) and openai 6.
//
// A browser offers the subprotocols `realtime` and `openai-insecure-api-key.` with a client secret. The secret
// lets a session begin, and is never looked at again. One that has ended is refused after the upgrade: an `error`
// event, then Close 3000 "invalid_request_error.invalid_api_key", as many have reported. A session is its
// connection: the conversation is gone with it.
//
// Assumed: after `response.create` the answer of the model never ends: each tick is a delta of its text.

import { randomUUID } from 'node:crypto';

import { WebSocketServer } from 'ws';

const KEY = 'openai-insecure-api-key.';

export default function serve(world) {
  const server = new WebSocketServer({ noServer: true, handleProtocols: () => 'realtime' });

  world.server.on('upgrade', (request, stream, head) => {
    const offers = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((offer) => offer.trim());
    const key = offers.find((offer) => offer.startsWith(KEY))?.slice(KEY.length);
    server.handleUpgrade(request, stream, head, (socket) => (world.check(key) ? opened(socket) : refused(socket)));
  });

  const id = (kind) => `${kind}_${randomUUID().replaceAll('-', '').slice(0, 20)}`;
  const send = (socket, event) => socket.send(JSON.stringify({ event_id: id('event'), ...event }));

  function refused(socket) {
    const error = { type: 'invalid_request_error', code: 'invalid_api_key', message: 'Incorrect API key provided.' };
    send(socket, { type: 'error', error: { ...error, param: null, event_id: null } });
    socket.close(3000, 'invalid_request_error.invalid_api_key');
  }

  function opened(socket) {
    world.ledger.connections += 1;
    let previous = null;
    let response = null;
    send(socket, { type: 'session.created', session: { type: 'realtime', id: id('sess'), model: 'gpt-realtime' } });

    const tick = (n) => {
      const place = { response_id: response, item_id: response, output_index: 0, content_index: 0 };
      if (response) send(socket, { type: 'response.output_text.delta', ...place, delta: String(n) });
    };
    world.ticks.on('tick', tick);
    socket.on('close', () => world.ticks.off('tick', tick));

    socket.on('message', (text) => {
      const event = JSON.parse(text);
      switch (event.type) {
        case 'session.update':
          return send(socket, { type: 'session.updated', session: event.session });
        case 'conversation.item.create': {
          const item = { id: id('item'), status: 'completed', ...event.item };
          world.ledger.said.push(Number(item.content[0].text));
          for (const type of ['conversation.item.added', 'conversation.item.done']) {
            send(socket, { type, previous_item_id: previous, item });
          }
          previous = item.id;
          return;
        }
        case 'response.create':
          response = id('resp');
          return send(socket, { type: 'response.created', response: { id: response, status: 'in_progress' } });
      }
    });
  }
}
