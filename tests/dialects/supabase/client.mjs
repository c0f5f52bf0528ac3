// @supabase/realtime-js, wired as supabase-js does it: an `accessToken` callback, here of a token that never changes.
//
// Two channels: `room` has broadcasts (ticks), its own broadcasts with `ack`, and presence; `rows` has changes of a
// table. Presence is told where the set of those who are present has changed.

import { RealtimeClient } from '@supabase/realtime-js';
import { WebSocket } from 'ws';

import { also, event, sleep, talk, tick } from '../lib/client.mjs';

export default async function connect(url, token) {
  const client = new RealtimeClient(`${url}/realtime/v1`, {
    params: { apikey: 'public' },
    transport: WebSocket,
    accessToken: async () => token,
    heartbeatIntervalMs: 5000,
  });
  await client.setAuth(); // As the documentation says, before channels that need a user.
  client.onHeartbeat((status) => ['sent', 'ok'].includes(status) || event('heartbeat', status));

  const config = { broadcast: { ack: true }, presence: { key: 'me' } };
  const room = client.channel('room', { config });
  let quiet = null;
  let present = '';
  room
    .on('broadcast', { event: 'tick' }, ({ payload }) => tick(payload.n))
    .on('presence', { event: 'sync' }, () => {
      const now = Object.keys(room.presenceState()).join(' ') || 'nobody';
      if (now !== present) event('present:', now);
      present = now;
    })
    .subscribe(async (status, error) => {
      event('room', status, error);
      if (status !== 'SUBSCRIBED') return;
      const tracked = await room.track({ since: 'now' });
      if (tracked !== 'ok') event('track', tracked);
      quiet ??= talk(say);
    });

  const filter = { event: '*', schema: 'public', table: 'ticks' };
  const rows = client.channel('rows').on('postgres_changes', filter, (change) => also(change.new.n));
  rows.subscribe((status, error) => event('rows', status, error));

  async function say(n) {
    const answer = await room.send({ type: 'broadcast', event: 'say', payload: { n } });
    if (answer !== 'ok') throw new Error(answer);
  }

  return async () => {
    quiet?.();
    await Promise.race([client.removeAllChannels(), sleep(1000)]);
    await client.disconnect();
  };
}
