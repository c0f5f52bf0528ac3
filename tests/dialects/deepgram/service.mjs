// Deepgram, live transcription (`/v1/listen`). Mock, after Deepgram's documentation and @deepgram/sdk 5.
//
// A browser offers the subprotocols `token` and the key (and the SDK: `x-deepgram-session-id` and an id). The key
// lets a stream begin, and is never looked at again; 401 when it has ended.
//
// Assumed: what is heard is the number of the tick; a binary message of audio is the text of a number, and `Finalize`
// has it transcribed.

import { WebSocketServer } from 'ws';

export default function serve(world) {
  const server = new WebSocketServer({ noServer: true, handleProtocols: (offers) => [...offers][0] });

  world.server.on('upgrade', (request, stream, head) => {
    const offers = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((offer) => offer.trim());
    const key = ['token', 'bearer'].includes(offers[0]) && offers[1];
    if (world.check(key)) return server.handleUpgrade(request, stream, head, opened);
    const headers = 'dg-error: Invalid credentials.\r\nConnection: close\r\nContent-Length: 0';
    stream.end(`HTTP/1.1 401 Unauthorized\r\n${headers}\r\n\r\n`);
  });

  function opened(socket) {
    world.ledger.connections += 1;
    const begun = Date.now();
    let audio = '';
    const results = (transcript, finalized) => {
      const channel = { alternatives: [{ transcript, confidence: 1, words: [] }] };
      const time = { duration: 0.2, start: (Date.now() - begun) / 1000 };
      const flags = { is_final: true, speech_final: true, from_finalize: finalized };
      socket.send(JSON.stringify({ type: 'Results', channel_index: [0, 1], ...time, ...flags, channel }));
    };
    const tick = (n) => results(String(n), false);
    world.ticks.on('tick', tick);
    socket.on('close', () => world.ticks.off('tick', tick));
    socket.on('message', (data, binary) => {
      if (binary) return void (audio += data);
      switch (JSON.parse(data).type) {
        case 'Finalize':
          world.ledger.said.push(Number(audio));
          results(audio, true);
          audio = '';
          return;
        case 'CloseStream':
          socket.send(JSON.stringify({ type: 'Metadata', duration: (Date.now() - begun) / 1000, channels: 1 }));
          return socket.close(1000);
      }
    });
  }
}
