// The status page: takes snapshots from /events and shows them.
//
//   /events ──► hear ──► take(snapshot) ──► draw: only what differs; what is wrong, and how badly, the sidecar says
//      └─ silent or refused: /status.json is asked meanwhile; no answer: "no word from the sidecar"
//
// 1. Text reaches the document as text (textContent, setAttribute), never as markup: names and errors come from outside.
// 2. Durations are between two times of the sidecar's clock; only a time of day is the browser's (its time zone).
// 3. A node is made once and changed in place where its text differs: selection, scroll and focus stay.
// 4. What is not known is said to be so, and what is old looks old.
'use strict';

// ---- words -----------------------------------------------------------------------------------------------------

const MINUTE = 60, HOUR = 3600, DAY = 86400;
/** A number and its unit stay on one line. */
const unit = (n, name) => `${n}\u00a0${name}`;
const NUMBER = new Intl.NumberFormat('en');
const number = (n) => NUMBER.format(n);
const plural = (n, one, many = `${one}s`) => `${number(n)} ${n === 1 ? one : many}`;
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
/** What steers a terminal or the direction of writing, and shows nothing itself: shown as a character that does not. */
const STEERING = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const tamed = (_, value) => (typeof value === 'string' ? value.replace(STEERING, '\ufffd') : value);
/** Words from outside: not the whole of what is endless. */
const short = (name, most = 48) => (name.length > most ? `${name.slice(0, most)}…` : name);

/** Seconds as people say them: rounded down, since what is said to be left must be there. */
function duration(seconds) {
  const s = Math.max(0, seconds), whole = Math.floor(s);
  if (s === 0) return unit(0, 's');
  if (s < 0.001) return `under ${unit(1, 'ms')}`;
  if (s < 1) return unit(Math.floor(s * 1000 + 1e-6), 'ms');
  if (s < 10 && s !== whole) return unit((Math.floor(s * 10) / 10).toFixed(1), 's');
  if (s < MINUTE) return unit(whole, 's');
  if (s < 10 * MINUTE) return two(whole, MINUTE, 'min', 1, 's');
  if (s < HOUR) return unit(Math.floor(s / MINUTE), 'min');
  if (s < DAY) return two(whole, HOUR, 'h', MINUTE, 'min');
  return two(whole, DAY, s < 2 * DAY ? 'day' : 'days', HOUR, 'h');
}

function two(seconds, large, largeName, small, smallName) {
  const rest = Math.floor((seconds % large) / small);
  return unit(Math.floor(seconds / large), largeName) + (rest ? ` ${unit(rest, smallName)}` : '');
}

/** A duration that is counted down or up each second: without fractions. */
const counted = (seconds) => (seconds > 0 && seconds < 1 ? `under ${unit(1, 's')}` : duration(Math.floor(seconds)));

function bytes(n) {
  if (n < 1024) return plural(n, 'byte');
  const [size, name] = n < 1048576 ? [1024, 'KiB'] : n < 1073741824 ? [1048576, 'MiB'] : [1073741824, 'GiB'];
  const of = n / size;
  return unit(of >= 100 || of === Math.floor(of) ? Math.floor(of) : (Math.floor(of * 10) / 10).toFixed(1), name);
}

/** Rounded down, so that nothing short of all is 100 %. */
const share = (fraction) => (fraction === null ? 'not known yet' : unit(Math.floor(fraction * 1e5 + 1e-6) / 1e3, '%'));

const FULL = new Intl.DateTimeFormat('en-GB', { dateStyle: 'full', timeStyle: 'long' });
const DATE = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });
const pad = (n) => String(n).padStart(2, '0');
const clock = (date) => `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;

/** Local HH:MM:SS, with the day where it is not the one of `now`. */
function time(at, now) {
  const date = new Date(at * 1000);
  const day = date.toDateString() === new Date(now * 1000).toDateString() ? '' : `${DATE.format(date)} `;
  return day + clock(date);
}

// ---- the document ----------------------------------------------------------------------------------------------

const $ = (id) => document.getElementById(id);

function text(node, said) {
  if (node.textContent !== said) node.textContent = said;
}

function attribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

function shown(node, is) {
  if (node.hidden === is) node.hidden = !is;
}

function timeOf(node, at, now) {
  text(node, time(at, now));
  const date = new Date(at * 1000);
  attribute(node, 'datetime', date.toISOString());
  attribute(node, 'title', FULL.format(date));
}

const mark = (use, level) => attribute(use, 'href', `#mark-${level}`);

/** A copy of a template: its root, and its parts by the names in `data-f`. */
function stamp(id) {
  const root = $(id).content.cloneNode(true);
  const part = Object.create(null);
  for (const node of root.querySelectorAll('[data-f]')) part[node.dataset.f] = node;
  return { root: root.children.length === 1 ? root.firstElementChild : root, part };
}

/** Makes the children of `parent` those of `items`, by key, in this order: moves as few as it can. */
function list(parent, views, items, key, make, draw) {
  const wanted = new Map(items.map((item, at) => [key(item, at), item]));
  for (const [name, view] of views) {
    if (!wanted.has(name)) {
      view.root.remove();
      views.delete(name);
    }
  }
  let next = parent.firstElementChild;
  for (const [name, item] of wanted) {
    let view = views.get(name);
    if (!view) views.set(name, (view = make(item, name)));
    // The first of a list went to its end: it moves, and not all the others.
    if (next && next !== view.root && next.nextElementSibling === view.root) {
      const first = next;
      next = view.root;
      parent.append(first);
    }
    if (next === view.root) next = next.nextElementSibling;
    else parent.insertBefore(view.root, next);
    draw(view, item);
  }
}

/** The items of a plain list. */
function lines(parent, said) {
  while (parent.children.length > said.length) parent.lastElementChild.remove();
  while (parent.children.length < said.length) parent.append(document.createElement('li'));
  said.forEach((line, at) => text(parent.children[at], line));
}

// ---- what is wrong, and how badly --------------------------------------------------------------------------------

const WORDS = { good: 'healthy', watch: 'degraded', bad: 'unhealthy', lost: 'no word' };
/** What the sidecar calls it: its own words are only shown. */
const LEVELS = { healthy: 'good', degraded: 'watch', unhealthy: 'bad' };
const levelOf = (it) => LEVELS[it.level] ?? 'watch';

const times = (n) => (n === 1 ? 'once' : n === 2 ? 'twice' : `${number(n)} times`);
const leftOf = (credential, now) => (credential.expires === null ? null : Math.max(0, credential.expires - now));
const upOf = ({ live, exchanging, swapping }) => live + exchanging + swapping;
const allOf = (sessions) => upOf(sessions) + sessions.opening + sessions.resuming;

const worst = (conditions) => (conditions.length ? levelOf(conditions[0]) : 'good');

/** A sentence of its own. */
const sentenceOf = (it) => `${it.route === null ? capital(short(it.text, 400)) : `Route ${short(it.route)}: ${short(it.text, 400)}`}.`;

/** "All 40 sessions up." */
function sessionsSentence({ routes }) {
  const sum = (of) => routes.reduce((total, it) => total + of(it.sessions), 0);
  const up = sum(upOf), all = sum(allOf), opening = sum((it) => it.opening);
  const parked = sum((it) => it.parked), away = parked ? `, ${number(parked)} parked` : '';
  if (all === 0) return `No client is connected${away}.`;
  if (up === all) return `${all === 1 ? 'The one session is' : `All ${number(all)} sessions`} up${away}.`;
  return `${number(up)} of ${plural(all, 'session')} up${opening ? `, ${number(opening)} opening` : ''}${away}.`;
}

function nextSentence({ routes, now }) {
  const credentials = routes.flatMap((it) => it.credentials);
  const next = Math.min(...credentials.map((it) => it.next_refresh ?? Infinity));
  if (next > now && next < Infinity) return ` Next refresh in ${counted(next - now)}.`;
  return credentials.some((it) => it.fetching) ? ' A refresh is under way.' : '';
}

// ---- drawing: the bar that runs down, and the sparklines -----------------------------------------------------------

const CALM = matchMedia('(prefers-reduced-motion: reduce)');
/** A bar's transition leads this far (seconds), a little longer than the next snapshot takes to come. */
const AHEAD = 1.2;

/** Time left of a token; its end runs on between two snapshots, by a transition as long as it leads. */
function drawBar(bar, credential, now, label) {
  const left = leftOf(credential, now);
  shown(bar, left !== null);
  if (left === null) return;
  const start = credential.issued ?? credential.last_refresh;
  if (bar.of !== credential.expires) Object.assign(bar, { of: credential.expires, whole: left });
  const whole = Math.max(start === null ? bar.whole : credential.expires - start, 0.001);
  const next = credential.next_refresh === null ? null : (credential.expires - credential.next_refresh) / whole;
  attribute(bar, 'data-level', credential.state === 'valid' ? 'good' : credential.state === 'failing' ? 'watch' : 'bad');
  meter(bar, label, Math.min(left, whole), whole, `${counted(left)} of ${counted(whole)}`);
  const [fill, tick] = bar.children;
  shown(tick, next !== null && next > 0 && next < 1);
  if (next !== null) tick.style.left = `${next * 100}%`;
  // A small bar of a long life moves by less than can be seen.
  const runs = !CALM.matches && (!bar.classList.contains('small') || whole < 600);
  run(fill, Math.min(left / whole, 1), runs ? Math.max(0, (left - AHEAD) / whole) : null);
}

function run(fill, at, ahead) {
  // Filled again, or not running: there at once.
  if (ahead === null || !(at <= fill.at)) {
    fill.style.transition = 'none';
    fill.style.transform = `scaleX(${at})`;
    if (ahead !== null) fill.getBoundingClientRect();
  }
  fill.at = at;
  if (ahead === null) return;
  fill.style.transition = `transform ${AHEAD}s linear`;
  fill.style.transform = `scaleX(${ahead})`;
}

function meter(bar, label, value, most, said) {
  attribute(bar, 'role', 'meter');
  attribute(bar, 'aria-label', label);
  attribute(bar, 'aria-valuemin', 0);
  attribute(bar, 'aria-valuemax', Math.round(most * 10) / 10);
  attribute(bar, 'aria-valuenow', Math.round(value * 10) / 10);
  attribute(bar, 'aria-valuetext', said);
}

/** How much of a limit is used. */
function drawUse(bar, label, value, most, said) {
  meter(bar, label, Math.min(value, most), most, said);
  attribute(bar, 'data-level', value > most * 0.8 ? 'bad' : value > most * 0.5 ? 'watch' : 'good');
  run(bar.firstElementChild, Math.min(1, value / most), null);
}

const SVG = 'http://www.w3.org/2000/svg';
const COLUMNS = 60, WIDTH = 240, HEIGHT = 40;
let sparks = 0;

/** Columns, the newest at the right, and a line that means something. Those above it stand out. */
function makeSpark(parent, title) {
  const spark = stamp('spark-template');
  text(spark.part.title, title);
  spark.part.text.id = `spark-${(sparks += 1)}`;
  spark.svg = spark.root.querySelector('svg');
  attribute(spark.svg, 'aria-labelledby', spark.part.text.id);
  for (const name of ['under', 'over', 'line']) {
    spark[name] = spark.svg.appendChild(document.createElementNS(SVG, 'path'));
    attribute(spark[name], 'class', name);
  }
  parent.append(spark.root);
  return spark;
}

function drawSpark(spark, values, { line, least, lineName, empty, among }) {
  const most = Math.max(least, ...values.map((value) => value * 1.1));
  const y = (value) => Math.round((HEIGHT - (value / most) * HEIGHT) * 10) / 10;
  let under = '', over = '';
  values.slice(-COLUMNS).forEach((value, at, all) => {
    if (value <= 0) return;
    const x = ((COLUMNS - all.length + at) * WIDTH) / COLUMNS;
    const column = `M${x} ${HEIGHT}V${Math.min(y(value), HEIGHT - 1.5)}h3V${HEIGHT}z`;
    if (value > line) over += column;
    else under += column;
  });
  attribute(spark.under, 'd', under);
  attribute(spark.over, 'd', over);
  const visible = line <= most;
  attribute(spark.line, 'd', visible ? `M0 ${y(line)}H${WIDTH}` : '');
  shown(spark.part['line-label'], visible);
  text(spark.part['line-label'], lineName);
  spark.part['line-label'].style.top = `${(y(line) / HEIGHT) * 100}%`;
  text(spark.part.text, values.length ? summary(values, line, lineName, among) : empty);
}

/** The same as text: last, median, worst. */
function summary(values, line, lineName, among) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  const above = values.filter((value) => value > line).length;
  const said = `last ${duration(values.at(-1))}, median ${duration(median)}, worst ${duration(sorted.at(-1))} ${among}`;
  return above ? `${said}; ${number(above)} above ${lineName}` : said;
}

// ---- drawing: routes -----------------------------------------------------------------------------------------------

const STATES = ['live', 'exchanging', 'swapping', 'resuming', 'opening', 'parked', 'closing'];
/** So many routes are shown whole; of more, an overview comes first. */
const FEW = 2;
let made = 0;

function makeRoute() {
  const view = stamp('route-template');
  made += 1;
  view.part.name.id = `route-${made}`;
  attribute(view.root, 'aria-labelledby', `route-${made}`);
  view.rows = new Map();
  view.fresh = true;
  view.states = STATES.map((state) => {
    const pair = document.createElement('div'), name = document.createElement('dt'), count = document.createElement('dd');
    name.textContent = state;
    pair.append(name, count);
    view.part.sessions.append(pair);
    return [state, pair, count];
  });
  view.refreshing = makeSpark(view.part.refreshing, 'Refresh latency');
  view.exchanging = makeSpark(view.part.exchanging, 'Exchange latency');
  view.holding = makeSpark(view.part.holding, 'Longest hold');
  return view;
}

function drawRoute(view, route, now, few, found) {
  const { part } = view, level = worst(found);
  attribute(view.root, 'data-level', level);
  mark(part.mark, level);
  text(part.name, route.name);
  text(part.word, WORDS[level]);
  text(part.where, `${route.path} → ${route.upstream} · ${route.dialect === 'none' ? 'no dialect: a plain proxy' : route.dialect}`);
  shown(part.conditions, found.length > 0);
  lines(part.conditions, found.map((it) => `${capital(short(it.text, 400))}.`));
  drawToken(view, route, now);
  // Many routes are a line or two each, until one is in trouble or looked into.
  if (view.fresh) part.details.open = level !== 'good' || few;
  view.fresh = false;
  text(part.summary, routeSummary(route));
  drawSessions(view, route, now);
  drawCounts(part, route);
  drawEnds(part, route);
  drawHeld(part, route);
  drawSparks(view, route);
}

function routeSummary({ sessions, uptime, lost }) {
  const gone = lost.up + lost.down;
  const known = uptime === null ? '' : `, uptime ${share(uptime)}`;
  const all = allOf(sessions);
  const up = all === 0 ? 'No client is connected' : `${number(upOf(sessions))} of ${plural(all, 'session')} up`;
  return `${up}${known}, ${gone ? plural(gone, 'message') : 'no message'} lost`;
}

function drawToken(view, route, now) {
  const kind = route.share === 'route' && route.credentials.length ? 'one' : route.share === 'client' ? 'many' : 'none';
  if (view.kind !== kind) {
    view.kind = kind;
    view.rows.clear();
    view.token = kind === 'none' ? null : stamp(kind === 'one' ? 'credential-template' : 'credentials-template');
    view.part.token.replaceChildren(...(view.token ? [view.token.root] : []));
  }
  shown(view.part.token, kind !== 'none');
  if (kind === 'one') drawCredential(view.token.part, route, now);
  if (kind === 'many') drawCredentials(view, route, now);
}

function drawCredential(part, route, now) {
  const [credential] = route.credentials, left = leftOf(credential, now);
  text(part.credential, credential.name);
  text(part.left, left === null ? (credential.generation > 0 ? 'No end told' : 'No token') : left > 0 ? counted(left) : 'Ended');
  text(part['left-word'], left === null ? '' : left > 0 ? 'left' : `${counted(now - credential.expires)} ago`);
  drawBar(part.bar, credential, now, 'Time left of the token');
  text(part.generation, number(credential.generation));
  const ends = credential.expires === null ? 'not known' : time(credential.expires, now);
  const refresh = credential.refresh_token_expires ?? null;
  text(part.ends, refresh === null ? ends : `${ends}; the refresh token: ${time(refresh, now)}`);
  text(part.last, lastRefresh(credential, now));
  text(part.next, nextRefresh(credential, now));
  shown(part.error, credential.error !== null);
  text(part.error, credential.error === null ? '' : `Last error: ${short(credential.error, 400)}`);
}

function lastRefresh({ last_refresh: at, took }, now) {
  if (at === null) return 'none yet';
  return `${time(at, now)}, ${counted(now - at)} ago${took === null ? '' : `, took ${duration(took)}`}`;
}

function nextRefresh({ next_refresh: at, fetching }, now) {
  if (fetching) return 'under way';
  if (at === null) return 'none planned';
  return at > now ? `${time(at, now)}, in ${counted(at - now)}` : 'due now';
}

function drawCredentials(view, route, now) {
  const { part } = view.token, all = route.credentials_total, here = route.credentials.length;
  const some = here < all ? `The ${number(here)} closest to their end, of ${number(all)}.` : `${plural(all, 'credential')}, one for each client.`;
  text(part.count, all === 0 ? 'Each client brings its own token; none has come yet.' : some);
  shown(part.region, here > 0);
  attribute(part.region, 'aria-label', `Credentials of route ${route.name}`);
  list(part.rows, view.rows, route.credentials, (it) => it.name, () => stamp('row-template'), (row, it) => drawRow(row.part, it, now));
}

function drawRow(part, credential, now) {
  const left = leftOf(credential, now);
  text(part.credential, credential.name);
  drawBar(part.bar, credential, now, 'Time left');
  text(part.left, left === null ? 'no end told' : left > 0 ? counted(left) : 'ended');
  text(part.generation, number(credential.generation));
  text(part.last, credential.last_refresh === null ? 'none yet' : `${time(credential.last_refresh, now)}${credential.took === null ? '' : `, ${duration(credential.took)}`}`);
  text(part.next, credential.fetching ? 'under way' : credential.next_refresh === null ? '–' : time(credential.next_refresh, now));
  mark(part.mark, credential.state === 'valid' ? 'good' : credential.state === 'failing' ? 'watch' : 'bad');
  const failed = credential.failures && credential.state !== 'valid' ? `, failed ${times(credential.failures)}` : '';
  text(part.state, `${credential.state}${failed}${credential.error === null ? '' : `: ${short(credential.error, 200)}`}`);
}

function drawSessions({ part, states }, route, now) {
  for (const [state, pair, count] of states) {
    text(count, number(route.sessions[state]));
    attribute(pair, 'data-none', route.sessions[state] === 0 ? '' : null);
  }
  const { messages, oldest_live_expires: oldest } = route;
  text(part.uptime, share(route.uptime));
  text(part.messages, `${number(messages.up)} up, ${number(messages.down)} down`);
  const rest = oldest === null ? 'none' : oldest > now ? `ends in ${counted(oldest - now)}` : `ended ${counted(now - oldest)} ago`;
  text(part.oldest, rest);
}

function drawCounts(part, { refreshes, reauthentications }) {
  for (const [name, counts] of Object.entries({ refresh: refreshes, ...reauthentications })) {
    for (const outcome of ['ok', 'failed', 'rejected']) {
      const cell = part[`${name}-${outcome}`];
      if (!cell) continue;
      text(cell, number(counts[outcome]));
      attribute(cell, 'data-none', counts[outcome] === 0 ? '' : null);
      attribute(cell, 'data-not-ok', outcome !== 'ok' && counts[outcome] > 0 ? '' : null);
    }
  }
}

function drawEnds(part, { lost, closed }) {
  const { token_expired: expired, ...others } = closed;
  attribute(part.expiry, 'data-level', expired > 0 ? 'bad' : 'good');
  mark(part['expiry-mark'], expired > 0 ? 'bad' : 'good');
  text(part['expiry-text'], expired > 0 ? `${plural(expired, 'session')} closed by an expired token` : 'No session was closed by an expired token');
  text(part.lost, lost.up + lost.down === 0 ? 'none' : `${number(lost.up)} up, ${number(lost.down)} down`);
  attribute(part.lost, 'data-not-ok', lost.up + lost.down > 0 ? '' : null);
  const reasons = Object.entries(others).filter(([, count]) => count > 0);
  text(part.closed, reasons.map(([reason, count]) => `${reason.replaceAll('_', ' ')} ${number(count)}`).join(', ') || 'nobody yet');
}

function drawHeld(part, { longest_hold: hold, fullest_queue: queue, held_bytes: held, limits }) {
  const wait = hold === null ? `none (limit ${duration(limits.reconnect)})` : `${duration(hold)} of ${duration(limits.reconnect)}`;
  const full = `${bytes(queue)} of ${bytes(limits.queue)}`;
  text(part.wait, wait);
  drawUse(part['wait-bar'], 'Longest wait, of the longest allowed', hold ?? 0, limits.reconnect, wait);
  text(part.queue, full);
  drawUse(part['queue-bar'], 'Fullest queue, of the largest allowed', queue, limits.queue, full);
  text(part.held, held.up + held.down === 0 ? 'empty' : `${bytes(held.up)} up, ${bytes(held.down)} down`);
}

function drawSparks(view, route) {
  const latency = (values, empty) => ({ line: 0.1, least: 0.125, lineName: unit(100, 'ms'), among: `of ${number(values.length)}`, empty });
  shown(view.part.refreshing, route.share !== 'none');
  shown(view.part.exchanging, route.exchange_latencies.length > 0);
  drawSpark(view.refreshing, route.refresh_latencies, latency(route.refresh_latencies, 'no refresh yet'));
  drawSpark(view.exchanging, route.exchange_latencies, latency(route.exchange_latencies, ''));
  const { hold } = route.limits;
  const values = route.holds.some((value) => value > 0) ? route.holds : [];
  const held = { line: hold, least: 1, lineName: duration(hold), empty: `nothing was held in the last ${unit(10, 'min')}`, among: `in ${unit(10, 'min')}` };
  drawSpark(view.holding, values, held);
}

function makeGlance(route) {
  const view = stamp('glance-template');
  view.part.name.addEventListener('click', () => (routeViews.get(route.name).part.details.open = true));
  return view;
}

function drawGlance(view, route, now, found) {
  const { part } = view, level = worst(found);
  const [first] = route.credentials, left = first ? leftOf(first, now) : null;
  text(part.name, route.name);
  attribute(part.name, 'href', `#${routeViews.get(route.name).part.name.id}`);
  mark(part.mark, level);
  text(part.word, WORDS[level]);
  text(part.up, `${number(upOf(route.sessions))} of ${number(allOf(route.sessions))}`);
  shown(part.bar, left !== null);
  if (first) drawBar(part.bar, first, now, 'Time left of the token');
  text(part.left, !first ? 'no token' : left === null ? 'not known' : left > 0 ? counted(left) : 'ended');
  text(part.next, first ? nextRefresh(first, now) : '–');
}

// ---- drawing: the head, the events, the foot -----------------------------------------------------------------------

const ICONS = {
  good: '<circle cx="8" cy="8" r="8" fill="#2f7d54"/><path d="m4 8.5 3 3 5-6" stroke="#fff" stroke-width="2" fill="none"/>',
  watch: '<path d="M8 0l8 15H0z" fill="#c98a12"/><path d="M8 5v5m0 2v1" stroke="#000" stroke-width="2"/>',
  bad: '<path d="M5 0h6l5 5v6l-5 5H5l-5-5V5z" fill="#c0362c"/><path d="m5 5 6 6m0-6-6 6" stroke="#fff" stroke-width="2"/>',
  lost: '<circle cx="8" cy="8" r="6" fill="none" stroke="#888" stroke-width="3" stroke-dasharray="4 3"/>',
};
const routeViews = new Map(), glanceViews = new Map(), eventViews = new Map();
let drawnLevel = '', spokenKey = '';

/** The head. What is read out changes with `key`, not with each duration in the sentence. */
function drawHead(level, sentence, more, key) {
  if (drawnLevel !== level) {
    drawnLevel = level;
    document.documentElement.dataset.level = level;
    document.title = `${capital(WORDS[level])} · ${location.host} · Perennial`;
    const icon = `<svg xmlns="${SVG}" viewBox="0 0 16 16">${ICONS[level]}</svg>`;
    document.querySelector('link[rel=icon]').href = `data:image/svg+xml,${encodeURIComponent(icon)}`;
  }
  mark($('mark'), level);
  text($('word'), WORDS[level]);
  text($('sentence'), sentence);
  shown($('notices'), more.length > 0);
  lines($('notices'), more);
  if (spokenKey !== key) text($('spoken'), `${WORDS[level]}: ${sentence}`);
  spokenKey = key;
}

function drawSummary(snapshot) {
  const found = snapshot.health.conditions, sessions = sessionsSentence(snapshot);
  const key = found.map((it) => `${it.level} ${it.route} ${it.key}`).join('\n');
  const [first, ...more] = found.map(sentenceOf);
  if (found.length === 0) drawHead('good', sessions + nextSentence(snapshot), [], 'good');
  else drawHead(worst(found), first, [...more, sessions], key);
  const [last] = snapshot.events;
  shown($('last'), last !== undefined);
  if (last) {
    timeOf($('last-time'), last.at, snapshot.now);
    text($('last-text'), short(last.message, 120) + (last.route === null ? '' : ` · ${short(last.route)}`));
  }
  text($('address'), snapshot.address);
  text($('as-of'), `as of ${time(snapshot.now, snapshot.now)}`);
}

const EVENT_LEVELS = { info: 'info', warn: 'watch', error: 'bad' };
const filter = { warnings: false, route: '' };

function drawEvents({ events, routes, now, started }) {
  const names = [...new Set([...routes.map((it) => it.name), ...events.map((it) => it.route).filter((name) => name !== null)])];
  drawChoice($('only-route'), names);
  const wanted = events.filter((it) => (!filter.warnings || it.level === 'warn' || it.level === 'error') && (filter.route === '' || it.route === filter.route));
  list($('events'), eventViews, wanted, (it) => `${started} ${it.id}`, () => stamp('event-template'), (view, it) => drawEvent(view, it, now));
  text($('events-count'), wanted.length < events.length ? `${wanted.length} of ${events.length}` : '');
  shown($('no-events'), wanted.length === 0);
  text($('no-events'), events.length === 0 ? 'Nothing has happened yet.' : `None like this among the last ${events.length}.`);
}

/** An open list of choices stays open: it is only touched where the routes are others. */
function drawChoice(select, names) {
  const same = names.length === select.options.length - 1 && names.every((name, at) => select.options[at + 1].value === name);
  if (same) return;
  select.replaceChildren(select.options[0], ...names.map((name) => new Option(name, name)));
  select.value = names.includes(filter.route) ? filter.route : '';
  filter.route = select.value;
}

function drawEvent({ root, part }, event, now) {
  attribute(root, 'data-level', event.level);
  timeOf(part.time, event.at, now);
  mark(part.mark, EVENT_LEVELS[event.level] ?? 'info');
  text(part.level, event.level);
  text(part.route, event.route ?? '');
  text(part.message, short(event.message, 400));
  text(part.times, event.count > 1 ? ` × ${number(event.count)}` : '');
  drawFields(part.fields, event.fields);
}

/** Names and values, in their order; the spaces are for anyone who copies or hears them. */
function drawFields(parent, fields) {
  while (parent.children.length > fields.length * 2) parent.lastElementChild.remove();
  while (parent.children.length < fields.length * 2) {
    const node = document.createElement('span');
    node.className = parent.children.length % 2 ? 'value' : 'name';
    parent.append(node);
  }
  fields.forEach(([name, value], at) => {
    text(parent.children[at * 2], ` ${short(name)} `);
    text(parent.children[at * 2 + 1], short(value, 200));
  });
}

function drawFoot({ version, now, started, store, rehearsal }) {
  text($('version'), `Perennial ${version}`);
  text($('process'), `up for ${counted(now - started)}`);
  attribute($('process'), 'title', `since ${FULL.format(new Date(started * 1000))}`);
  text($('store'), `store: ${store.kind}`);
  shown($('rehearsal'), rehearsal);
}

function draw(snapshot) {
  const { routes, now, health } = snapshot;
  const few = routes.length <= FEW;
  const wrong = (route) => health.conditions.filter((it) => it.route === route.name);
  drawSummary(snapshot);
  list($('routes'), routeViews, routes, (it) => it.name, makeRoute, (view, it) => drawRoute(view, it, now, few, wrong(it)));
  shown($('glance'), !few);
  list($('glance-rows'), glanceViews, few ? [] : routes, (it) => it.name, makeGlance, (view, it) => drawGlance(view, it, now, wrong(it)));
  drawEvents(snapshot);
  drawFoot(snapshot);
}

// ---- hearing the sidecar -------------------------------------------------------------------------------------------

/** Silence after which it is said that there is no word, and after which the stream is given up (ms). */
const SILENCE = 3000, DEAF = 6000;
/** How long an answer may take, the pause between two questions, and between two tries for a refused stream (ms). */
const PATIENCE = 2500, PAUSE = 1000, RETRY = 5000;
let stream = null, begun = -Infinity, spoke = true;
let snapshot = null, heard = performance.now(), tended = heard, refused = false, asking = false;

function take(json) {
  heard = performance.now();
  refused = false;
  try {
    const next = JSON.parse(json, tamed);
    if (snapshot && next.version !== snapshot.version) return location.reload();
    draw(next);
    snapshot = next;
  } catch (error) {
    // Nothing that was drawn halfway is passed off as the truth.
    console.error(error);
    drawHead('lost', 'This page cannot read what the sidecar says; /status.json has it.', [], 'unreadable');
  }
}

function listen() {
  begun = performance.now();
  spoke = false;
  stream = new EventSource('/events');
  stream.addEventListener('status', ({ data }) => {
    spoke = true;
    take(data);
  });
  // It ended after its quarter of an hour, or all places are taken, or the sidecar is gone: a question tells which.
  stream.addEventListener('error', giveUp);
}

function giveUp() {
  stream?.close();
  stream = null;
  ask();
}

async function ask() {
  if (asking) return;
  asking = true;
  try {
    const answer = await fetch('/status.json', { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(`/status.json: ${answer.status}`);
    const said = await answer.text();
    if (refused) spoke = true;
    take(said);
    // A stream that was refused is tried for again now and then, and the question is repeated meanwhile.
    if (stream === null && (spoke || performance.now() - begun > RETRY)) listen();
  } catch {
    refused = true;
  }
  asking = false;
  look();
}

/** Says so where there is no word; the time is the one that the page has waited for it. */
function look() {
  const silence = performance.now() - heard;
  if (!refused && silence < SILENCE) return;
  const since = snapshot ? ` What is shown is of ${time(snapshot.now, snapshot.now)}.` : '';
  drawHead('lost', `No word from the sidecar for ${counted(silence / 1000)}.${since}`, [], 'lost');
}

function tend() {
  // Where the page itself was asleep (a closed lid, a busy machine), that is no silence of the sidecar's: it is asked.
  const slept = performance.now() - tended - PAUSE;
  tended += slept + PAUSE;
  if (slept > PAUSE) {
    heard = Math.min(heard + slept, performance.now());
    ask();
  }
  look();
  if (stream === null) ask();
  else if (performance.now() - Math.max(heard, begun) > DEAF) giveUp();
}

$('only-warnings').addEventListener('change', ({ target }) => {
  filter.warnings = target.checked;
  if (snapshot) drawEvents(snapshot);
});
$('only-route').addEventListener('change', ({ target }) => {
  filter.route = target.value;
  if (snapshot) drawEvents(snapshot);
});
addEventListener('pagehide', () => stream?.close());
addEventListener('pageshow', ({ persisted }) => persisted && giveUp());
document.addEventListener('visibilitychange', () => document.hidden || tend());
// Kept over a reload by some browsers.
filter.warnings = $('only-warnings').checked;
setInterval(tend, PAUSE);
ask();
