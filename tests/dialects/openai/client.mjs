// openai 6, its realtime client for browsers. One session lives; each five seconds another one is opened with the
// same client secret, and closed when it is there. The library does not come back by itself.
//
// openai insists on wss: see lib/browser.mjs. Each item of the conversation names the one before it: a client
// whose session has been exchanged under it sees that here ("conversation lost").

import OpenAI from 'openai';
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket';

import '../lib/browser.mjs';
import { again, event, opened, talk, tick } from '../lib/client.mjs';

export default function connect(url, token) {
  const settings = { apiKey: token, baseURL: `${url.replace('ws:', 'http:')}/v1`, dangerouslyAllowBrowser: true };
  const client = new OpenAI(settings);

  function session(name, begun) {
    const realtime = new OpenAIRealtimeWebSocket({ model: 'gpt-realtime', dangerouslyAllowBrowser: true }, client);
    realtime.on('error', (error) => event(name, 'error', error));
    realtime.on('session.created', () => begun(realtime));
    realtime.socket.addEventListener('close', (close) => close.code !== 1000 && event(name, close));
    return realtime;
  }

  const live = session('session 1', () => {
    event('session 1 created');
    live.send({ type: 'session.update', session: { type: 'realtime', instructions: 'Count.' } });
    live.send({ type: 'response.create' });
  });
  live.on('response.output_text.delta', ({ delta }) => tick(Number(delta)));

  let last = null;
  const waiting = new Map();
  live.on('conversation.item.done', ({ previous_item_id: previous, item }) => {
    if (previous !== last) event('conversation lost');
    last = item.id;
    waiting.get(item.content[0].text)?.();
  });
  const say = (n) =>
    new Promise((resolve) => {
      waiting.set(String(n), resolve);
      const item = { type: 'message', role: 'user', content: [{ type: 'input_text', text: String(n) }] };
      live.send({ type: 'conversation.item.create', item });
    });

  let number = 1;
  const quiet = [
    talk(say),
    again(() => {
      const mine = ++number;
      session(`session ${mine}`, (realtime) => {
        opened(mine);
        realtime.close();
      });
    }),
  ];
  return () => {
    for (const stop of quiet) stop();
    live.close();
  };
}
