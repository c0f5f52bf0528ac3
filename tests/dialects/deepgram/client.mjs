// @deepgram/sdk 5 as it is in a browser. One stream lives; each five seconds another one is opened with the same
// key, and closed when it has a result.

import '../lib/browser.mjs';
import { again, event, opened, talk, tick } from '../lib/client.mjs';

// What the SDK takes for a browser: it sends no headers then.
globalThis.window = { document: {}, navigator: { userAgent: 'rig' } };
const { DeepgramClient } = await import('@deepgram/sdk');

export default async function connect(url, token) {
  const environment = { base: url.replace('ws:', 'http:'), production: url, agent: url };
  const client = new DeepgramClient({ apiKey: token, environment });

  async function stream(name, heard) {
    const socket = await client.listen.v1.connect({ model: 'nova-3' });
    let over = false;
    socket.on('message', (message) => message.type === 'Results' && heard(message, socket));
    socket.on('error', (error) => over || event(name, 'error', error));
    socket.on('close', (close) => over || event(name, close));
    socket.connect();
    const close = socket.close.bind(socket);
    socket.close = () => {
      over = true;
      close();
    };
    return socket;
  }

  const waiting = new Map();
  const text = ({ channel }) => channel.alternatives[0].transcript;
  const live = await stream('stream 1', (message) => {
    if (!message.from_finalize) return tick(Number(text(message)));
    waiting.get(text(message))?.();
    waiting.delete(text(message));
  });
  live.on('open', () => event('stream 1 open')); // The SDK comes back by itself: again each time.
  const say = (n) =>
    new Promise((resolve) => {
      waiting.set(String(n), resolve);
      live.sendMedia(new TextEncoder().encode(String(n)));
      live.sendFinalize({ type: 'Finalize' });
    });

  let number = 1;
  const quiet = [
    talk(say),
    again(async () => {
      const mine = ++number;
      let first = true;
      await stream(`stream ${mine}`, (_, socket) => {
        if (first) opened(mine);
        first = false;
        socket.close();
      });
    }),
  ];
  return () => {
    for (const stop of quiet) stop();
    live.close();
  };
}
