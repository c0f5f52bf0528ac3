// A terminal in a browser: `ws` with the offers of one (@kubernetes/client-node takes https alone). One exec lives;
// each five seconds another one is opened with the same token, and closed when its process has said something.

import { WebSocket } from 'ws';

import { again, event, opened, talk, tick } from '../lib/client.mjs';

const BEARER = 'base64url.bearer.authorization.k8s.io.';
const PATH = '/api/v1/namespaces/default/pods/rig/exec?command=sh&stdin=true&stdout=true&tty=false';

export default function connect(url, token) {
  const offers = [`${BEARER}${Buffer.from(token).toString('base64url')}`, 'v5.channel.k8s.io'];

  function exec(name, heard) {
    const socket = new WebSocket(url + PATH, offers);
    socket.binaryType = 'nodebuffer';
    socket.onerror = ({ message }) => event(name, 'error', message);
    socket.onclose = (close) => close.code !== 1000 && event(name, close);
    socket.onmessage = ({ data }) => {
      if (data[0] !== 1) return event(name, 'channel', data[0], String(data.subarray(1)));
      for (const line of String(data.subarray(1)).split('\n').filter(Boolean)) heard(line.split(' '), socket);
    };
    return socket;
  }

  let process = null;
  const waiting = new Map();
  const live = exec('exec 1', ([word, pid, n]) => {
    if (process !== null && process !== pid) event('exec 1 another process');
    process = pid;
    if (word === 'tick') return tick(Number(n));
    waiting.get(n)?.();
    waiting.delete(n);
  });
  live.onopen = () => event('exec 1 open');
  const say = (n) =>
    new Promise((resolve, reject) => {
      if (live.readyState !== WebSocket.OPEN) return reject('not open');
      waiting.set(String(n), resolve);
      live.send(Buffer.from(`\0${n}\n`));
    });

  let number = 1;
  const quiet = [
    talk(say),
    again(() => {
      const mine = ++number;
      let first = true;
      exec(`exec ${mine}`, (_, socket) => {
        if (first) opened(mine);
        first = false;
        socket.close(1000);
      });
    }),
  ];
  return () => {
    for (const stop of quiet) stop();
    return new Promise((resolve) => {
      live.onclose = resolve;
      live.close(1000);
    });
  };
}
