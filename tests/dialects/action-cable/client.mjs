// @rails/actioncable with the WebSocket of `ws`, and a token in the query of its URL.

import cable from '@rails/actioncable';
import { WebSocket } from 'ws';

import { event, talk, tick } from '../lib/client.mjs';

// The library watches whether a page is visible.
globalThis.addEventListener ??= () => {};
globalThis.removeEventListener ??= () => {};
cable.adapters.WebSocket = WebSocket;

export default function connect(url, token) {
  const consumer = cable.createConsumer(`${url}/cable?token=${token}`);
  const waiting = new Map();
  const subscription = consumer.subscriptions.create('TickChannel', {
    connected: ({ reconnected }) => event(reconnected ? 'connected again' : 'connected'),
    disconnected: ({ willAttemptReconnect }) => event('disconnected', willAttemptReconnect ? 'for now' : 'for good'),
    rejected: () => event('rejected'),
    received({ tick: number, heard }) {
      if (number !== undefined) tick(number);
      waiting.get(heard)?.();
      waiting.delete(heard);
    },
  });
  const say = (n) =>
    new Promise((resolve, reject) => {
      waiting.set(n, resolve);
      if (!subscription.perform('say', { n })) reject('not connected');
    });
  const quiet = talk(say);
  return () => {
    quiet();
    consumer.disconnect();
  };
}
