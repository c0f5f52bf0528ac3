// The recording rules, and the alerts. Each alert fires if somebody must act, and for as long as that is so. It has an
// entry of its name in deploy/RUNBOOK.md, and cases in rules_test.yml.
//
//   critical   clients are cut off, or are about to be: somebody gets up
//   warning    on the next working day
//
// 1. Labels of a target (pod, namespace, cluster) stay: `sum without`, never `sum by`.
// 2. An alert outlives its sidecar until PerennialDown fires: keep_firing_for is longer than the `for` of PerennialDown.
//    alertmanager.yml says which alert inhibits which.
// 3. An alert lasts longer than its delivery takes (scrape 15 s, evaluation 15 s, group_wait 30 s): so does
//    keep_firing_for.
// 4. Ended sessions leave the sums of time. What tells an outage counts attempts.
local uptime = import 'uptime.libsonnet';

// For series of one target that have labels of their own, such as ALERTS.
local same_target = 'on (cluster, namespace, job, instance)';
// Where it happens, as far as the labels tell.
local where = std.join('', [
  '{{ $labels.instance }}{{ with $labels.pod }}, pod {{ . }}{{ end }}{{ with $labels.namespace }}, namespace {{ . }}{{ end }}',
  '{{ with $labels.cluster }}, cluster {{ . }}{{ end }}{{ with $labels.route }}, route {{ . }}{{ end }}: ',
]);
local percent = '{{ $value | humanizePercentage }}';
local about = 'about {{ printf "%.0f" $value }}';
local duration = '{{ $value | humanizeDuration }}';
local certificate = std.join('', [
  'the {{ if $labels.listener }}certificate shown to clients{{ else }}client certificate shown to the service{{ end }} ',
  '{{ if gt $value 0.0 }}ends in %s{{ else }}has ended{{ end }}.' % duration,
]);
local day = 86400;

// ----- expressions

// The labels that tell one sidecar of a job from another.
local of_one_sidecar = 'instance, pod, container, endpoint, node';
local refreshed(window) =
  local fetches(outcome) =
    'sum without (outcome, trigger, %s) (rate(perennial_token_refreshes_total{outcome%s}[%s]))' % [of_one_sidecar, outcome, window];
  '%s\n/ (%s > 0)' % [fetches('="ok"'), fetches('!="unchanged"')];

// The share of the credentials in these states. If each client has its own, one that fails is no reason to get up.
local share_of_credentials(states) =
  'sum without (state) (perennial_credentials{state=~"%s"}) / (sum without (state) (perennial_credentials) > 0) > 0.1' % states;

// One failure is tried again within seconds, and a refusal that stays is not.
local refresh_fails = |||
  (
    sum without (trigger, outcome) (increase(perennial_token_refreshes_total{outcome="rejected"}[10m])) > 0
    or sum without (trigger, outcome) (increase(perennial_token_refreshes_total{outcome="failed"}[10m])) > 1.5
  )
|||;

// At least three attempts, and none came through. A long window for clients that wait long before they try again.
local unreachable(window) =
  local dials(outcomes) =
    'sum without (purpose, outcome) (increase(perennial_upstream_connections_total{outcome=~"%s"}[%s]))' % [outcomes, window];
  '%s >= 3\n  unless %s > 0' % [dials('unreachable|tls|timeout'), dials('ok')];

local not_served = 'upstream_rejected|upstream_unreachable|timeout|token|limit';
// Handshakes that were refused, and sessions that the service refused after its 101.
local turned_away = |||
  sum without (outcome, reason) (
    increase(perennial_handshakes_total{route!="", outcome=~"%s"}[5m])
    or increase(perennial_sessions_closed_total{reason="refused"}[5m])
  )
||| % not_served;

local expired = 'sum without (reason) (increase(perennial_sessions_closed_total{reason="token_expired"}[5m]))';

function(runbook)
  local block(expr) = std.rstripChars(expr, '\n') + '\n';
  local record(name, expr) = { record: name, expr: block(expr) };
  local alert(name, severity, expr, summary, description, more={}) = {
    alert: name,
    expr: block(expr),
    keep_firing_for: '3m',
    labels: { severity: severity },
    annotations: { summary: summary, description: where + description, runbook_url: '%s#%s' % [runbook, std.asciiLower(name)] },
  } + more;
  local after(time) = { 'for': time };

  { groups: [
    { name: 'perennial.rules', rules: [
      record('instance_route:perennial_uptime:ratio_rate' + window, uptime('', window, without='state'))
      for window in ['5m', '1h']
    ] + [
      record('job_route:perennial_uptime:ratio_rate' + window, uptime('', window, without='state, ' + of_one_sidecar))
      for window in ['5m', '1h', '1d', '7d']
    ] + [
      record('job_route:perennial_token_refresh_success:ratio_rate' + window, refreshed(window))
      for window in ['5m', '1h', '1d', '7d']
    ] },
    { name: 'perennial.alerts', rules: [
      // ----- tokens

      // A refresh begins with a quarter of the life left, or as refresh_before says: with less than a fifth or five minutes
      // it is late only if it fails. 0: there is no token, or one without an end.
      alert('PerennialTokenRunsOut', 'critical', |||
        (perennial_token_expiration_timestamp_seconds > 0) - time()
          < clamp_min(0.2 * (perennial_token_expiration_timestamp_seconds - perennial_token_issued_timestamp_seconds), 300)
        and %s
        and %s
      ||| % [share_of_credentials('failing'), refresh_fails], 'The token runs out, and no refresh succeeds',
      'the token ends in %s, and fetching another one fails.' % duration),

      // After its end somebody must log in again. 0: nobody knows the end.
      alert('PerennialRefreshTokenRunsOut', 'critical', |||
        (perennial_refresh_token_expiration_timestamp_seconds > 0) - time() < 600
        and %s
      ||| % share_of_credentials('failing'), 'The refresh token runs out, and no refresh succeeds',
      'the refresh token ends in %s. After that somebody has to log in again.' % duration, after('1m')),

      alert('PerennialNoToken', 'critical', share_of_credentials('missing|expired'), 'There is no valid token',
      '%s of the credentials have no token, or one that has expired.' % percent, after('1m')),

      // Two levels: all clients of a route, and a few that have tokens of their own.
      alert('PerennialSessionsExpired', 'critical', |||
        %s
          > 0.1 * (sum without (state) (perennial_sessions) + %s)
      ||| % [expired, expired], 'Clients were cut off because a token expired',
      about + ' in five minutes, which is more than a tenth.'),
      alert('PerennialSessionsExpired', 'warning', expired + ' > 0', 'Clients were cut off because a token expired',
      about + ' in five minutes.'),

      alert('PerennialReauthenticationsRejected', 'warning', |||
        sum without (outcome) (increase(perennial_reauthentications_total{outcome="rejected"}[15m]))
          / (sum without (outcome) (increase(perennial_reauthentications_total[15m])) > 0)
        > 0.05
      |||, 'The service rejects new tokens',
      percent + ' of the re-authentications by {{ $labels.method }} were rejected.', after('5m')),

      // ----- the service

      // Without clients nobody tries. What a sidecar counted that is gone says nothing.
      alert('PerennialServiceUnreachable', 'critical', |||
        (
          %s
          or
          %s
        )
        and sum without (purpose, outcome) (perennial_upstream_connections_total)
      ||| % [unreachable('2m'), unreachable('10m')],
      'The service cannot be reached',
      about + ' attempts to connect to the service failed, and none succeeded.', after('30s')),

      // The objective is 99.9 %. What it allows for a month, spent 14.4 times as fast, is gone in two days; now, and not
      // for a moment only. Half a client at least: the milliseconds of one that is refused say nothing.
      alert('PerennialUptimeLow', 'critical', |||
        instance_route:perennial_uptime:ratio_rate5m < 0.9856
        and instance_route:perennial_uptime:ratio_rate1h < 0.9856
        and sum without (state) (rate(perennial_session_seconds_total{state!="parked"}[5m])) > 0.5
      |||, 'Clients are connected and not served',
      "messages passed in %s of the clients' time in five minutes." % percent, after('2m')),

      // One client that is refused again and again is that client's fault; ten refusals in five minutes are not.
      alert('PerennialClientsTurnedAway', 'warning', |||
        %s/ sum without (outcome) (increase(perennial_handshakes_total{outcome=~"accepted|%s"}[5m]))
        > 0.5
        and %s>= 10
      ||| % [turned_away, not_served, turned_away], 'Most clients are turned away',
      percent + ' of the clients that came in five minutes were not served.', after('2m')),

      // Since the process started: counters that a first scrape finds above zero do not increase.
      alert('PerennialNobodyServed', 'warning', |||
        sum without (outcome, reason) (
          perennial_handshakes_total{outcome="upstream_rejected"}
          or perennial_sessions_closed_total{reason="refused"}
        ) > 0
        unless sum without (state) (perennial_session_seconds_total{state=~"live|exchanging"}) > 30
      |||, 'The service has refused every client since the sidecar started',
      'the service has refused {{ printf "%.0f" $value }} clients, and served none.', after('5m')),

      // Left out: what nobody was there to hear, and what a route is told to discard.
      alert('PerennialMessagesLost', 'warning', |||
        sum without (direction, reason) (increase(perennial_messages_lost_total{reason!~"overlap|peer_gone|drain"}[15m])) > 0
      |||, 'Messages were lost, or may have been', about + ' in a quarter of an hour.'),

      // For moments, back-pressure is ordinary.
      alert('PerennialQueueNearLimit', 'warning', 'perennial_fullest_queue_bytes / (perennial_queue_limit_bytes > 0) > 0.9',
      'The queue of a session stays full',
      'a session holds %s of session.queue; its peer is not read meanwhile.' % percent, after('5m')),

      // ----- the sidecar

      // What has said in the last hour that it is a sidecar, what the name of its job says to be one, and what fires already:
      // as long as it is to be scraped.
      alert('PerennialDown', 'critical', |||
        up == 0 and %(same)s last_over_time(perennial_build_info[1h])
        or up{job=~".*perennial.*"} == 0
        or up == 0 and %(same)s last_over_time(ALERTS{alertname="PerennialDown"}[1h])
      ||| % { same: same_target }, 'A sidecar does not answer', 'its clients have no connection, if it is down.',
      after('2m') + { keep_firing_for: '5m' }),

      alert('PerennialRestarting', 'critical', |||
        changes(process_start_time_seconds[15m]) >= 3
        and %s last_over_time(perennial_build_info[15m])
      ||| % same_target, 'A sidecar restarts again and again',
      'it has started {{ $value }} times in a quarter of an hour. Each time its clients are cut off.'),

      alert('PerennialSessionsNearLimit', 'warning', |||
        sum without (route, state) (perennial_sessions) / (perennial_sessions_limit > 0) >= 0.9
      |||, 'There is hardly room for more clients',
      percent + ' of the sessions that there may be. At 100 % clients are turned away.', after('2m')),

      alert('PerennialOpenFilesNearLimit', 'warning', |||
        process_open_fds / process_max_fds >= 0.9
        and %s perennial_build_info
      ||| % same_target, 'There are hardly any file descriptors left',
      percent + ' of the files that the process may open are open.', after('2m')),

      alert('PerennialCertificateEnds', 'critical', 'perennial_tls_certificate_expiration_timestamp_seconds - time() < %d' % day,
      'A certificate ends within a day, or has ended', certificate),
      alert('PerennialCertificateEnds', 'warning', 'perennial_tls_certificate_expiration_timestamp_seconds - time() < 14 * %d' % day,
      'A certificate ends within two weeks', certificate),

      alert('PerennialReloadFailed', 'warning', 'perennial_config_last_reload_successful == 0', 'The configuration was not reloaded',
      'the configuration of before stays in use.', after('1m')),

      alert('PerennialLogDropped', 'warning', 'increase(perennial_log_lines_dropped_total[15m]) > 0', 'Lines of the log are lost',
      about + ' in fifteen minutes.', after('5m')),

      // Against the clock of Prometheus, when it scraped.
      alert('PerennialClockOff', 'warning', 'abs(perennial_clock_time_seconds - timestamp(perennial_clock_time_seconds)) > 5',
      'The clock is off', 'the clock differs from that of Prometheus by %s.' % duration, after('2m')),

      alert('PerennialStoreDown', 'warning', 'perennial_store_up == 0', 'The store does not answer, or cannot be written',
      'refresh tokens are not used, and what other sidecars revoke is not known.', after('2m')),
    ] },
  ] }
