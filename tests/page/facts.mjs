// What is shown is what the sidecar said: each fact of a snapshot, worked out again and looked for in the document.

import { equal, sure } from './look.mjs';

const n = (count) => count.toLocaleString('en');
const at = (seconds) => new Date(seconds * 1000).toTimeString().slice(0, 8);
const tame = (text) => text.replace(/[\p{Cc}\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu, '\ufffd');
const start = (text, most) => (tame(text).length > most ? `${tame(text).slice(0, most)}…` : tame(text));

/// The snapshot that was drawn last, and the document as it is then: read in one go, so that they belong together.
function read({ page }) {
  return page.evaluate(() => {
    const flat = (node) => node?.textContent.replaceAll('\u00a0', ' ').replace(/\s+/g, ' ').trim();
    const parts = (root) => Object.fromEntries([...root.querySelectorAll('[data-f]')].map((node) => [node.dataset.f, flat(node)]));
    const bar = (node) => node && !node.hidden && Object.fromEntries(['role', 'aria-label', 'aria-valuemin', 'aria-valuemax', 'aria-valuenow', 'aria-valuetext'].map((name) => [name, node.getAttribute(name)]));
    const routes = [...document.querySelectorAll('article.route')].map((root) => ({
      ...parts(root),
      shape: root.querySelector('.route-head use').getAttribute('href'),
      bar: bar(root.querySelector('.credential > .bar')),
      sessions: Object.fromEntries([...root.querySelectorAll('.states > div')].map((pair) => [...pair.children].map(flat))),
      rows: [...root.querySelectorAll('.credentials tbody tr')].map((row) => ({ ...parts(row), bar: bar(row.querySelector('.bar')) })),
    }));
    const events = [...document.querySelectorAll('#events tr')].map((row) => ({ ...parts(row), title: row.querySelector('time').title, iso: row.querySelector('time').dateTime }));
    const ids = Object.fromEntries(['address', 'as-of', 'version', 'process', 'store', 'word', 'sentence', 'last'].map((id) => [id, flat(document.getElementById(id))]));
    return { snapshot: JSON.parse(window.seen.snapshots.at(-1)), routes, events, ids, rehearsal: !document.getElementById('rehearsal').hidden };
  });
}

function barIs(what, bar, credential, now) {
  if (credential.expires === null) return equal(`${what}: a bar without an end`, bar || null, null);
  const left = Math.max(0, credential.expires - now);
  equal(`${what}: the bar's role`, bar.role, 'meter');
  sure(`${what}: the bar has a name`, bar['aria-label']?.length > 3);
  sure(`${what}: the bar says its value: ${bar['aria-valuetext']}`, / of /.test(bar['aria-valuetext']));
  sure(`${what}: the bar is at ${bar['aria-valuenow']}, ${left} s are left`, Math.abs(Number(bar['aria-valuenow']) - left) < 0.2);
  if (credential.issued !== null) {
    const whole = credential.expires - credential.issued;
    sure(`${what}: the bar is of ${bar['aria-valuemax']}, the token of ${whole} s`, Math.abs(Number(bar['aria-valuemax']) - whole) < 0.2);
  }
}

function credentialIs(what, shown, it, now) {
  equal(`${what}: name`, shown.credential, tame(it.name));
  equal(`${what}: generation`, shown.generation, n(it.generation));
  barIs(what, shown.bar, it, now);
  if (it.last_refresh !== null) sure(`${what}: last refresh: ${shown.last}`, shown.last.includes(at(it.last_refresh)));
  if (it.fetching) equal(`${what}: next refresh`, shown.next, 'under way');
  else if (it.next_refresh > now) sure(`${what}: next refresh: ${shown.next}`, shown.next.includes(at(it.next_refresh)));
}

function routeIs(shown, route, now) {
  const what = `route ${route.name}`;
  sure(`${what}: where: ${shown.where}`, shown.where.startsWith(`${tame(route.path)} → ${tame(route.upstream)}`));
  equal(`${what}: sessions`, Object.entries(shown.sessions).sort(), Object.entries(route.sessions).map(([state, count]) => [state, n(count)]).sort());
  for (const [name, counts] of Object.entries({ refresh: route.refreshes, ...route.reauthentications })) {
    for (const [outcome, count] of Object.entries(counts)) equal(`${what}: ${name} ${outcome}`, shown[`${name}-${outcome}`], n(count));
  }
  for (const [reason, count] of Object.entries(route.closed).filter(([, count]) => count > 0)) {
    const text = reason === 'token_expired' ? `${n(count)} session` : `${reason.replaceAll('_', ' ')} ${n(count)}`;
    sure(`${what}: closed ${text}: ${shown.closed}, ${shown.expiry}`, `${shown.closed}, ${shown.expiry}`.includes(text));
  }
  if (route.closed.token_expired === 0) sure(`${what}: ${shown.expiry}`, shown.expiry.startsWith('No session'));
  equal(`${what}: messages`, shown.messages, `${n(route.messages.up)} up, ${n(route.messages.down)} down`);
  equal(`${what}: lost`, shown.lost, route.lost.up + route.lost.down ? `${n(route.lost.up)} up, ${n(route.lost.down)} down` : 'none');
  if (route.uptime !== null) {
    const shows = Number.parseFloat(shown.uptime) / 100;
    sure(`${what}: uptime ${shown.uptime} of ${route.uptime}`, shows <= route.uptime + 1e-9 && route.uptime - shows < 1.1e-5);
  }
  if (route.longest_hold === null) sure(`${what}: ${shown.wait}`, shown.wait.startsWith('none'));
  latencyIs(what, shown.refreshing, route.refresh_latencies);
  if (route.exchange_latencies.length) latencyIs(what, shown.exchanging, route.exchange_latencies);
  if (route.share === 'route' && route.credentials.length) credentialIs(what, shown, route.credentials[0], now);
  if (route.share === 'client') {
    equal(`${what}: rows`, shown.rows.length, route.credentials.length);
    route.credentials.forEach((it, row) => credentialIs(`${what}, ${it.name}`, shown.rows[row], it, now));
    if (route.credentials_total > 50) sure(`${what}: ${shown.count}`, shown.count.includes(`of ${n(route.credentials_total)}`));
  }
}

function latencyIs(what, text, values) {
  const above = values.filter((value) => value > 0.1).length;
  equal(`${what}: ${text}: above the line`, text.match(/([\d,]+) above 100 ms/)?.[1] ?? '0', n(above));
  if (values.length === 0) return;
  const [, ...found] = text.match(/last (.+), median (.+), worst (.+) of (\d+)/) ?? [];
  const middle = [...values].sort((a, b) => a - b);
  const median = (middle[(values.length - 1) >> 1] + middle[values.length >> 1]) / 2;
  const wanted = [values.at(-1), median, Math.max(...values)];
  wanted.forEach((value, at) => {
    const [amount, unit] = found[at].replace('under ', '').split(' ');
    const seconds = Number(amount) * { ms: 0.001, s: 1, min: 60 }[unit];
    sure(`${what}: ${text}: ${found[at]} for ${value}`, Math.abs(seconds - value) <= { ms: 0.001, s: 1, min: 60 }[unit]);
  });
  equal(`${what}: how many`, found[3], String(values.length));
}

function eventsAre(shown, events, now) {
  equal('events', shown.length, events.length);
  events.forEach((event, row) => {
    const it = shown[row], what = `event ${event.id}`;
    sure(`${what}: ${it.time}`, it.time.endsWith(at(event.at)));
    equal(`${what}: time`, it.iso, new Date(event.at * 1000).toISOString());
    sure(`${what}: the full date: ${it.title}`, it.title.includes(String(new Date(event.at * 1000).getFullYear())));
    equal(`${what}: level`, it.level, event.level);
    equal(`${what}: route`, it.route, tame(event.route ?? ''));
    equal(`${what}: message`, it.message, start(event.message, 400));
    equal(`${what}: count`, it.times, event.count > 1 ? `× ${n(event.count)}` : '');
    for (const [name, value] of event.fields) {
      sure(`${what}: ${name} ${value}: ${it.fields}`, it.fields.includes(`${start(name, 48)} ${start(value, 200)}`.trim()));
    }
  });
}

/// Every fact of the snapshot that was drawn last; and that snapshot is what /status.json says.
export async function factsAreShown(open) {
  const { snapshot, routes, events, ids, rehearsal } = await read(open);
  equal('address', ids.address, tame(snapshot.address));
  equal('version', ids.version, `Perennial ${tame(snapshot.version)}`);
  equal('as of', ids['as-of'], `as of ${at(snapshot.now)}`);
  equal('rehearsal', rehearsal, snapshot.rehearsal);
  equal('routes', routes.map((it) => it.name), snapshot.routes.map((it) => tame(it.name)));
  snapshot.routes.forEach((route, row) => routeIs(routes[row], route, snapshot.now));
  eventsAre(events, snapshot.events, snapshot.now);
  const said = await (await fetch(new URL('/status.json', open.url))).json();
  const lasting = (it) => [it.version, Math.round(it.started), it.address, it.routes.map((route) => [route.name, route.path, route.upstream, route.dialect, route.share, route.limits])];
  equal('/status.json', lasting(snapshot), lasting(said));
  return snapshot;
}
