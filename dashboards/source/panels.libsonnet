// What the two dashboards show: each panel once, with its query, unit, thresholds and what it tells.
local grafana = import 'grafana.libsonnet';
local uptime = import 'uptime.libsonnet';

// Of the processes, and of their routes.
local process = 'job=~"$job", instance=~"$instance"';
local route = process + ', route=~"$route"';
// The same, and what belongs to no route.
local route_or_none = process + ', route=~"$route|"';

local good = 'green', bad = 'red', watch = 'orange', plain = 'blue';
local now = 'time()';

// Series by name, with more matchers.
local of(name, more='') = 'perennial_%s{%s%s}' % [name, route, if more == '' then '' else ', ' + more];
// How many of a counter a minute: these are rare things.
local per_minute(by, counter, more='') = '60 * sum by (%s) (rate(%s[$__rate_interval]))' % [by, of(counter, more)];
local per_second(by, counter) = 'sum by (%s) (rate(%s[$__rate_interval]))' % [by, of(counter)];
local within(counter, more='') = 'sum(increase(%s[$__range]))' % of(counter, more);
local sum(by, gauge) = 'sum by (%s) (%s)' % [by, of(gauge)];
local quantile(q, by, histogram, more='') =
  'histogram_quantile(%s, sum by (le, %s) (rate(%s[$__rate_interval])))' % [q, by, of(histogram + '_bucket', more)];
// 0 says that there is none.
local left(by, timestamp) = 'min by (%s) ((%s > 0) - %s)' % [by, of(timestamp), now];

// The median and the tail of a histogram.
local latency(panel, by, legend, histogram, more='') =
  panel
  + grafana.query(quantile('0.5', by, histogram, more), 'p50 ' + legend)
  + grafana.query(quantile('0.99', by, histogram, more), 'p99 ' + legend);

// Only what re-authenticates on the live connection has an exchange; a swap and a resume dial instead.
local phases = 'phase=~"fetch|exchange"';
local hundred_ms = [[good, null], [bad, 0.1]];
local line_of_100_ms = [['transparent', null], [bad, 0.1]];

local state_colours =
  grafana.coloured('live', good) + grafana.coloured('exchanging', 'super-light-green')
  + grafana.coloured('opening', plain) + grafana.coloured('swapping', 'purple')
  + grafana.coloured('resuming', watch) + grafana.coloured('parked', '#808080') + grafana.coloured('closing', 'text');

// How bad it is, by the alerts that fire: 0 to 2. Nothing at all if no sidecar is known.
local state =
  local firing(severity, value) =
    '(count(ALERTS{alertname=~"Perennial.+", alertstate="firing", severity="%s", %s}) * 0 + %d)' % [severity, route_or_none, value];
  std.join(' or ', [firing('critical', 2), firing('warning', 1), '(count(perennial_build_info{%s}) * 0)' % process]);

local near_limit = [['transparent', null], [watch, 0.9]];
local day = 86400;

local panel = {
  // ----- at a glance

  state:
    grafana.figure('State', |||
      Healthy: no alert fires. Degraded: a warning does; somebody must act on the next working day. Unhealthy: a critical alert does; clients are cut off, or are about to be. Of the sidecars and routes that are chosen, by rules.yml.
    |||, 'none')
    + grafana.now(state)
    + grafana.words({ '0': ['healthy', good], '1': ['degraded', watch], '2': ['unhealthy', bad] }),
  uptime_now:
    grafana.figure('Uptime', |||
      Share of all clients' time, in the range shown, in which their messages passed. Not: an upstream being dialled, resumed or swapped. A parked session has no client, and is not counted.
    |||, 'percentunit')
    + grafana.now(uptime(route, '$__range', ''))
    + grafana.colours([[bad, null], [watch, 0.99], [good, 0.999]]) + grafana.decimals(3),
  expired:
    grafana.figure('Closed for expiry', |||
      Clients cut off because a token ended and nothing could hide it. This is what Perennial is there to prevent: it must stay 0.
    |||, 'none')
    + grafana.now(within('sessions_closed_total', 'reason="token_expired"'))
    + grafana.colours([[good, null], [bad, 0.5]]) + grafana.decimals(0),
  lost_now:
    grafana.figure('Messages lost', |||
      Messages lost, or that may have been, in the range shown. Left out is what nobody was there to hear, and what a route is told to discard.
    |||, 'none')
    + grafana.now(within('messages_lost_total', 'reason!~"overlap|peer_gone|drain"'))
    + grafana.colours([[good, null], [watch, 0.5]]) + grafana.decimals(0),
  refreshed:
    grafana.figure('Refresh success', |||
      Share of the fetches that brought a token, in the range shown. A failure is tried again; it hurts only when the token in hand ends meanwhile.
    |||, 'percentunit')
    + grafana.now('%s / (%s > 0)' % [within('token_refreshes_total', 'outcome="ok"'), within('token_refreshes_total', 'outcome!="unchanged"')])
    + grafana.colours([[bad, null], [watch, 0.9], [good, 0.99]]) + grafana.decimals(2),
  exchange_now:
    grafana.figure('Exchange, p99', |||
      From the injected frame to its reply, for 99 of 100 exchanges in the range shown. Below 100 ms nobody notices.
    |||, 's')
    + grafana.now('histogram_quantile(0.99, sum by (le) (rate(%s[$__range])))' % of('token_refresh_duration_seconds_bucket', 'phase="exchange"'))
    + grafana.colours(hundred_ms),
  left_now:
    grafana.figure('Token ends in', |||
      Of all tokens that live upstreams were last authenticated with, the one that ends first.
    |||, 's')
    + grafana.now('min((%s > 0) - %s)' % [of('oldest_live_token_expiration_timestamp_seconds'), now])
    + grafana.colours([[bad, null], [good, 0]]),
  firing:
    grafana.figure('Alerts firing', 'Alerts of rules.yml that fire now, of any sidecar. The runbook says what to do about each.', 'none')
    + grafana.now('count(ALERTS{alertname=~"Perennial.+", alertstate="firing"}) or vector(0)')
    + grafana.colours([[good, null], [bad, 1]]),

  // ----- clients

  uptime:
    grafana.lines('Uptime by route', |||
      Share of the clients' time in which their messages passed. The line is 99.9 %.
    |||, 'percentunit')
    + grafana.query(uptime(route, '$__rate_interval', 'route'), '{{route}}')
    + grafana.marks([['transparent', null], [watch, 0.999]]) + grafana.up_to(1) + grafana.no_floor + grafana.shows(0.998, 1),
  sessions:
    grafana.lines('Sessions by state', |||
      Live and exchanging are served. Resuming: the upstream is lost, and the client does not know. Swapping: a new upstream takes over. Parked: the client is away.
    |||, 'none')
    + grafana.query(sum('state', 'sessions'), '{{state}}') + grafana.stacked + state_colours,
  closes:
    grafana.lines('Sessions closed, by reason', |||
      Client and upstream close in their own right. Red, token_expired, must not be there at all; outage: the service was away for longer than `reconnect`.
    |||, 'cpm')
    + grafana.query(per_minute('reason', 'sessions_closed_total'), '{{reason}}') + grafana.bars
    + grafana.coloured('token_expired', bad) + grafana.coloured('client', '#808080')
    + grafana.coloured('outage', watch) + grafana.coloured('drain', plain),
  handshakes:
    grafana.lines('Handshakes by outcome', |||
      What became of the clients that came. Upstream unreachable, upstream rejected, timeout: the service. Token: there was none. Limit: there was no room. The others are the clients' doing.
    |||, 'cpm')
    + grafana.query('60 * sum by (outcome) (rate(perennial_handshakes_total{%s}[$__rate_interval]))' % route_or_none, '{{outcome}}')
    + grafana.bars
    + grafana.coloured('accepted', good) + grafana.coloured('upstream_unreachable', bad) + grafana.coloured('timeout', 'dark-red')
    + grafana.coloured('upstream_rejected', watch) + grafana.coloured('token', 'dark-orange') + grafana.coloured('limit', 'yellow')
    + grafana.coloured('client_gone', '#808080') + grafana.coloured('draining', plain),
  dials:
    grafana.lines('Connections to the service, by outcome', |||
      Dials: for a client that has come, after a loss, for a new token. Unreachable, tls, timeout: nobody answered. Rejected: with another status than 101. Replay: the state could not be restored.
    |||, 'cpm')
    + grafana.query(per_minute('outcome', 'upstream_connections_total'), '{{outcome}}') + grafana.bars
    + grafana.coloured('ok', good) + grafana.coloured('unreachable', bad) + grafana.coloured('tls', 'dark-red')
    + grafana.coloured('timeout', 'light-red') + grafana.coloured('rejected', watch) + grafana.coloured('replay', 'yellow'),
  room:
    grafana.lines('Sessions of the limit', |||
      Sessions of all routes, of those that there may be: `limits.sessions`, or fewer if open files allow fewer. The sidecar that is fullest. The line is where an alert fires.
    |||, 'percentunit')
    + grafana.query('max(sum without (route, state) (perennial_sessions{%s}) / perennial_sessions_limit{%s})' % [process, process], 'of the limit')
    + grafana.marks(near_limit) + grafana.up_to(1),
  own_room:
    grafana.lines('Sessions and their limit', |||
      Sessions of all routes. The limit is `limits.sessions`, or less if open files allow less.
    |||, 'none')
    + grafana.query('sum(perennial_sessions{%s})' % process, 'sessions')
    + grafana.query('perennial_sessions_limit{%s}' % process, 'limit') + grafana.coloured('limit', bad),
  messages:
    grafana.lines('Messages passed on', 'Up: from the clients. Down: from the service.', 'mps')
    + grafana.query(per_second('direction', 'messages_total'), '{{direction}}'),
  bytes:
    grafana.lines('Bytes passed on', 'Bytes of these messages.', 'Bps')
    + grafana.query(per_second('direction', 'bytes_total'), '{{direction}}'),
  http:
    grafana.lines('Plain HTTP answered', 'Requests that were no WebSocket, by the class of the status.', 'cpm')
    + grafana.query(per_minute('code', 'http_requests_total'), '{{code}}') + grafana.bars,

  // ----- tokens

  left:
    grafana.lines('Time left on the oldest live token', |||
      The token that ends first of those that live upstreams are on. It falls and jumps up at each refresh; at 0 the service may cut the connection.
    |||, 's')
    + grafana.query(left('route', 'oldest_live_token_expiration_timestamp_seconds'), '{{route}}')
    + grafana.marks([[bad, null], ['transparent', 0]]) + grafana.no_floor + grafana.shows(0, 1),
  left_in_hand:
    grafana.lines('Time left on the tokens', |||
      In hand: what the next dial uses. Live: the oldest that an upstream is still on. They part where a refresh worked and its exchange has not been made yet.
    |||, 's')
    + grafana.query(left('route', 'token_expiration_timestamp_seconds'), '{{route}} in hand')
    + grafana.query(left('route', 'oldest_live_token_expiration_timestamp_seconds'), '{{route}} live')
    + grafana.marks([[bad, null], ['transparent', 0]]) + grafana.no_floor + grafana.shows(0, 1),
  refreshes:
    grafana.lines('Refreshes by outcome', 'Fetches of a token. Unchanged: the source gave the current token again. Failed: no answer that could be used. Rejected: the source said no.', 'cpm')
    + grafana.query(per_minute('outcome', 'token_refreshes_total'), '{{outcome}}') + grafana.bars
    + grafana.coloured('ok', good) + grafana.coloured('failed', watch) + grafana.coloured('rejected', bad),
  triggers:
    grafana.lines('Refreshes by trigger', |||
      Schedule is the ordinary one. Hint: the service asked. Expiry: a token had ended or was rejected, which is late.
    |||, 'cpm')
    + grafana.query(per_minute('trigger', 'token_refreshes_total'), '{{trigger}}') + grafana.bars + grafana.coloured('expiry', watch),
  latency:
    latency(
      grafana.lines('Refresh latency by phase', |||
        Fetch: the token source answers. Exchange: from the injected frame to its reply, while the client's messages wait. The line is 100 ms.
      |||, 's'), 'phase', '{{phase}}', 'token_refresh_duration_seconds', phases
    ) + grafana.marks(line_of_100_ms) + grafana.shows(0, 0.12),
  methods:
    grafana.lines('Re-authentications by method', |||
      Exchange: on the live connection. Swap: by a new connection before the old one is broken. Resume: after it was lost. Failed: nothing came of it, and it is tried again. Rejected ones need a look.
    |||, 'cpm')
    + grafana.query(per_minute('method, outcome', 'reauthentications_total'), '{{method}} {{outcome}}') + grafana.bars
    + grafana.coloured('exchange rejected', bad) + grafana.coloured('swap rejected', 'dark-red') + grafana.coloured('resume rejected', 'light-red')
    + grafana.coloured('exchange failed', watch) + grafana.coloured('swap failed', 'dark-orange'),
  credentials:
    grafana.lines('Credentials by state', |||
      Failing: the token is valid, and its refresh fails. Expired and missing: clients cannot be served.
    |||, 'none')
    + grafana.query(sum('state', 'credentials'), '{{state}}') + grafana.stacked
    + grafana.coloured('valid', good) + grafana.coloured('failing', watch) + grafana.coloured('expired', bad) + grafana.coloured('missing', 'dark-red'),

  // ----- what waits, and what is lost

  gaps:
    latency(
      grafana.lines('Gaps', 'From losing an upstream to relaying again; the client only sees a pause.', 's'), 'route', '{{route}}', 'upstream_gap_seconds'
    ),
  gap_count:
    grafana.lines('Upstreams lost and had again', 'Gaps that ended, by route.', 'cpm')
    + grafana.query(per_minute('route', 'upstream_gap_seconds_count'), '{{route}}') + grafana.bars,
  holds:
    latency(
      grafana.lines('Holds', 'How long messages waited for an exchange, a swap or a resume.', 's'), 'direction', '{{direction}}', 'hold_seconds'
    ),
  held:
    grafana.lines('Messages held', 'Messages that had to wait, by direction.', 'mpm')
    + grafana.query(per_minute('direction', 'messages_held_total'), '{{direction}}') + grafana.bars,
  held_bytes:
    grafana.lines('Bytes that wait', 'Bytes of messages that are held now, of all sessions together.', 'bytes')
    + grafana.query(sum('direction', 'held_bytes'), '{{direction}}'),
  limits:
    grafana.lines('How near to the limits', |||
      Hold: the session that waits longest, of `session.reconnect`; at 100 % it is closed. Queue: the session that holds most bytes, of `session.queue`; at 100 % its peer is not read. The line is where an alert fires for queues.
    |||, 'percentunit')
    + grafana.query('max by (route) (%s / (%s > 0))' % [of('longest_hold_seconds'), of('reconnect_limit_seconds')], '{{route}} hold')
    + grafana.query('max by (route) (%s / (%s > 0))' % [of('fullest_queue_bytes'), of('queue_limit_bytes')], '{{route}} queue')
    + grafana.marks(near_limit) + grafana.up_to(1),
  lost:
    grafana.lines('Messages lost, by reason', |||
      Unacknowledged: sent on a connection that was lost. Outage, overflow: held for too long, or too many. Discontinued: said by the service meanwhile. Overlap: discarded as configured. Peer gone, drain: nobody was left to hear.
    |||, 'mpm')
    + grafana.query(per_minute('reason', 'messages_lost_total'), '{{reason}}') + grafana.bars
    + grafana.coloured('unacknowledged', watch) + grafana.coloured('discontinued', 'yellow')
    + grafana.coloured('outage', bad) + grafana.coloured('overflow', 'dark-red')
    + grafana.coloured('overlap', 'light-blue') + grafana.coloured('peer_gone', '#808080') + grafana.coloured('drain', plain),
  again:
    grafana.lines('Sent again, kept back', |||
      Replayed: sent again after a loss. Overlapped: came on a new connection, and waited for the end of the old one.
    |||, 'mpm')
    + grafana.query('60 * sum(rate(%s[$__rate_interval]))' % of('messages_replayed_total'), 'replayed')
    + grafana.query('60 * sum(rate(%s[$__rate_interval]))' % of('messages_overlapped_total'), 'overlapped') + grafana.bars,

  // ----- the process

  version:
    grafana.figure('Version', 'What runs.', 'none')
    + grafana.now('perennial_build_info{%s}' % process, '{{version}}') + { options+: { textMode: 'name' } } + grafana.colours([[plain, null]]),
  since:
    grafana.figure('Runs for', 'Since the process started.', 's')
    + grafana.now('%s - process_start_time_seconds{%s}' % [now, process]) + grafana.colours([[plain, null]]),
  reload:
    grafana.figure('Last reload', 'Did the last reload take effect? If not, the configuration of before goes on.', 'none')
    + grafana.now('min(perennial_config_last_reload_successful{%s})' % process)
    + grafana.words({ '0': ['failed', bad], '1': ['good', good] }),
  log_dropped:
    grafana.figure('Log lines dropped', 'Lines that were not written, in the range shown: nobody reads the log, or its disk is full. Sessions do not wait for it.', 'none')
    + grafana.now('sum(increase(perennial_log_lines_dropped_total{%s}[$__range]))' % process)
    + grafana.colours([[good, null], [watch, 0.5]]) + grafana.decimals(0),
  store:
    grafana.figure('Store', 'Does the store of [state] answer, and can it be written? Sessions go on without it; refresh tokens are not used.', 'none')
    + grafana.now('min(perennial_store_up{%s})' % process)
    + grafana.words({ '0': ['down', bad], '1': ['up', good] }),
  stores_down:
    grafana.figure('Stores down', 'Sidecars whose store of [state] does not answer, or cannot be written.', 'none')
    + grafana.now('count(perennial_store_up{%s} == 0) or vector(0)' % process)
    + grafana.colours([[good, null], [watch, 1]]),
  certificate:
    grafana.figure('Certificate ends in', 'Of all certificates of these sidecars, the one that ends first: shown to clients, or to a service.', 's')
    + grafana.now('min(perennial_tls_certificate_expiration_timestamp_seconds{%s}) - %s' % [process, now])
    + grafana.colours([[bad, null], [watch, day], [good, 14 * day]]) + grafana.instead_of_nothing('none'),
  clock:
    grafana.figure('Clock', "How far the sidecar's clock is ahead of Prometheus's. Tokens are dated: seconds matter.", 's')
    + grafana.now('max(perennial_clock_time_seconds{%s} - timestamp(perennial_clock_time_seconds{%s}))' % [process, process])
    + grafana.colours([[bad, null], [good, -5], [bad, 5]]) + grafana.decimals(1),
  cpu:
    grafana.lines('CPU', 'Cores in use: the busiest sidecar, and the mean.', 'none')
    + grafana.query('max(rate(process_cpu_seconds_total{%s}[$__rate_interval]))' % process, 'busiest')
    + grafana.query('avg(rate(process_cpu_seconds_total{%s}[$__rate_interval]))' % process, 'mean'),
  memory:
    grafana.lines('Memory', 'Resident memory: the largest sidecar, and the mean.', 'bytes')
    + grafana.query('max(process_resident_memory_bytes{%s})' % process, 'largest')
    + grafana.query('avg(process_resident_memory_bytes{%s})' % process, 'mean'),
  files:
    grafana.lines('Open files', 'Of the limit: each client takes one, each upstream another. The sidecar that has most.', 'percentunit')
    + grafana.query('max(process_open_fds{%s} / process_max_fds{%s})' % [process, process], 'of the limit')
    + grafana.marks(near_limit) + grafana.up_to(1),
  own_cpu:
    grafana.lines('CPU', 'Cores in use.', 'none')
    + grafana.query('rate(process_cpu_seconds_total{%s}[$__rate_interval])' % process, 'cores'),
  own_memory:
    grafana.lines('Memory', 'Resident memory.', 'bytes')
    + grafana.query('process_resident_memory_bytes{%s}' % process, 'resident'),
  own_files:
    grafana.lines('Open files and their limit', 'Each client takes one, each connection to the service another.', 'none')
    + grafana.query('process_open_fds{%s}' % process, 'open')
    + grafana.query('perennial_open_files_limit{%s}' % process, 'limit') + grafana.coloured('limit', bad),
  instances:
    grafana.table('Sidecars', 'A click leads to the dashboard of one.', 'instance', {
      instance: ['Sidecar', 'none'],
      version: ['Version', 'none'],
      'Value #B': ['Sessions', 'none'],
      'Value #C': ['Token ends in', 's'],
      'Value #D': ['CPU, cores', 'none'],
      'Value #E': ['Memory', 'bytes'],
      'Value #F': ['Runs for', 's'],
    })
    + grafana.column('max by (instance, version) (perennial_build_info{%s})' % process)
    + grafana.column('sum by (instance) (%s)' % of('sessions'))
    + grafana.column(left('instance', 'oldest_live_token_expiration_timestamp_seconds'))
    + grafana.column('max by (instance) (rate(process_cpu_seconds_total{%s}[$__rate_interval]))' % process)
    + grafana.column('max by (instance) (process_resident_memory_bytes{%s})' % process)
    + grafana.column('%s - max by (instance) (process_start_time_seconds{%s})' % [now, process])
    + grafana.leads('instance', 'This sidecar', '/d/perennial-sidecar?var-datasource=$datasource&var-instance=${__value.raw}'),
};

{
  fleet: [
    { title: 'At a glance', height: 4, panels: [
      [4, panel.state],
      [2, panel.firing],
      [3, panel.uptime_now],
      [3, panel.expired],
      [3, panel.lost_now],
      [3, panel.refreshed],
      [3, panel.exchange_now],
      [3, panel.left_now],
    ] },
    { title: 'Clients', height: 8, panels: [
      [8, panel.uptime],
      [8, panel.sessions],
      [8, panel.closes],
      [8, panel.handshakes],
      [8, panel.dials],
      [8, panel.room],
    ] },
    { title: 'Tokens', height: 8, panels: [[12, panel.latency], [12, panel.left], [12, panel.refreshes], [12, panel.methods]] },
    { title: 'What waits, and what is lost', height: 8, panels: [
      [8, panel.gaps],
      [8, panel.holds],
      [8, panel.limits],
      [12, panel.held_bytes],
      [12, panel.lost],
    ] },
    { title: 'Sidecars', height: 8, panels: [
      [6, panel.cpu],
      [6, panel.memory],
      [6, panel.files],
      [3, panel.certificate],
      [3, panel.stores_down],
      [24, panel.instances],
    ] },
  ],
  sidecar: [
    { title: 'At a glance', height: 4, panels: [
      [4, panel.state],
      [3, panel.uptime_now],
      [3, panel.expired],
      [3, panel.lost_now],
      [3, panel.left_now],
      [2, panel.reload],
      [2, panel.store],
      [2, panel.clock],
      [2, panel.since],
    ] },
    { title: 'Clients', height: 8, panels: [
      [8, panel.uptime],
      [8, panel.sessions],
      [8, panel.closes],
      [8, panel.handshakes],
      [8, panel.dials],
      [8, panel.own_room],
      [8, panel.messages],
      [8, panel.bytes],
      [8, panel.http],
    ] },
    { title: 'Tokens', height: 8, panels: [
      [8, panel.credentials],
      [8, panel.left_in_hand],
      [8, panel.latency],
      [8, panel.refreshes],
      [8, panel.triggers],
      [8, panel.methods],
    ] },
    { title: 'What waits, and what is lost', height: 8, panels: [
      [8, panel.limits],
      [8, panel.holds],
      [8, panel.held],
      [8, panel.held_bytes],
      [8, panel.gaps],
      [8, panel.gap_count],
      [12, panel.lost],
      [12, panel.again],
    ] },
    { title: 'The process', height: 8, panels: [
      [5, panel.own_cpu],
      [5, panel.own_memory],
      [5, panel.own_files],
      [3, panel.certificate],
      [3, panel.log_dropped],
      [3, panel.version],
    ] },
  ],
}
