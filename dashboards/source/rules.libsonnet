// Recording rules, and the alerts: each fires only where somebody must do something, and has an entry
// of its name in deploy/RUNBOOK.md and cases in rules_test.yml.
//
// critical: clients are cut off, or are about to be; somebody gets up. warning: on the next working day.
local uptime = import 'uptime.libsonnet';

// 99.9 % of the clients' time. Spent 14.4 times as fast as that allows, a month's worth of the rest is gone
// in two days: the usual line for getting up.
local objective = 0.999;
local too_fast = 1 - 14.4 * (1 - objective);

local windows = ['5m', '1h', '1d', '7d'];

// A block of its own, which reads better than a quoted line.
local block(expr) = std.stripChars(expr, '\n') + '\n';
local record(name, expr) = { record: name, expr: block(std.strReplace(expr, ' / ', '\n/ ')) };

function(runbook)
  local alert(name, severity, wait, expr, summary, description) = {
    alert: name,
    expr: block(expr),
    labels: { severity: severity },
    annotations: { summary: summary, description: description, runbook_url: '%s#%s' % [runbook, std.asciiLower(name)] },
  } + if wait == '' then {} else { 'for': wait };
  local critical(name, wait, expr, summary, description) = alert(name, 'critical', wait, expr, summary, description);
  local warning(name, wait, expr, summary, description) = alert(name, 'warning', wait, expr, summary, description);
  local at = '{{ $labels.instance }}, route {{ $labels.route }}: ';

  { groups: [
    { name: 'perennial.rules', rules:
      [
        record('job_route:perennial_uptime:ratio_rate' + window, uptime('', window, 'job, route'))
        for window in windows
      ] + [
        record('job_route:perennial_token_refresh_success:ratio_rate' + window,
               local fetched(more) = 'sum by (job, route) (rate(perennial_token_refreshes_total%s[%s]))' % [more, window];
               '%s / (%s > 0)' % [fetched('{outcome="ok"}'), fetched('')])
        for window in windows
      ] },

    { name: 'perennial.alerts', rules: [
      // A refresh begins with a quarter of the life left, or later if told so: a fifth is late only where it fails, too.
      critical(
        'PerennialTokenRunsOut', '1m', |||
          (
            (perennial_token_expiration_timestamp_seconds > 0) - time()
          ) / (
            perennial_token_expiration_timestamp_seconds - perennial_token_issued_timestamp_seconds
          ) < 0.2
          and on (job, instance, route) perennial_credentials{state="failing"} > 0
        |||,
        'The token runs out, and no refresh succeeds',
        at + '{{ $value | humanizePercentage }} of its life is left, and fetching another fails.',
      ),
      // Where each client has its own, one that was turned away is no reason to get up.
      critical(
        'PerennialNoToken', '1m', |||
          sum without (state) (perennial_credentials{state=~"missing|expired"})
            / (sum without (state) (perennial_credentials) > 0)
          > 0.1
        |||,
        'There is no valid token',
        at + '{{ $value | humanizePercentage }} of the credentials have no token, or one that has expired.',
      ),
      critical(
        'PerennialSessionsExpired', '', 'increase(perennial_sessions_closed_total{cause="token_expired"}[5m]) > 0',
        'Clients were cut off because a token expired',
        at + 'about {{ printf "%.0f" $value }} in five minutes.',
      ),
      warning(
        'PerennialReauthenticationsRejected', '5m', |||
          sum without (outcome) (increase(perennial_reauthentications_total{outcome="rejected"}[15m]))
            / (sum without (outcome) (increase(perennial_reauthentications_total[15m])) > 0)
          > 0.05
        |||,
        'The service rejects new tokens',
        at + '{{ $value | humanizePercentage }} of the re-authentications by {{ $labels.way }} were rejected.',
      ),
      // Left out: what nobody was there to hear, and what a route is told to discard.
      warning(
        'PerennialMessagesLost', '', 'increase(perennial_messages_lost_total{reason!~"overlap|peer_gone|drain"}[15m]) > 0',
        'Messages were lost, or may have been',
        at + 'about {{ printf "%.0f" $value }} in a quarter of an hour, {{ $labels.direction }}, {{ $labels.reason }}.',
      ),
      critical(
        'PerennialHoldNearLimit', '', 'perennial_longest_hold_seconds / (perennial_reconnect_limit_seconds > 0) > 0.5',
        'Clients wait for the service, and will be closed soon',
        at + 'the longest wait has come to {{ $value | humanizePercentage }} of session.reconnect.',
      ),
      // Back-pressure is ordinary for moments.
      warning(
        'PerennialQueueNearLimit', '5m', 'perennial_fullest_queue_bytes / (perennial_queue_limit_bytes > 0) > 0.9',
        'The queue of a session stays full',
        at + 'a session holds {{ $value | humanizePercentage }} of session.queue; its peer is not read meanwhile.',
      ),
      critical(
        'PerennialUptimeLow', '2m', |||
          job_route:perennial_uptime:ratio_rate5m < %(line)s
          and job_route:perennial_uptime:ratio_rate1h < %(line)s
        ||| % { line: '%.4f' % too_fast },
        'Clients are connected and not served',
        'Route {{ $labels.route }}: messages passed in {{ $value | humanizePercentage }} of the clients\' time in five minutes.',
      ),
      // Whatever has said in the last hour that it is a sidecar, and is still to be scraped.
      critical(
        'PerennialDown', '2m', 'up == 0 and on (job, instance) last_over_time(perennial_build_info[1h])',
        'A sidecar does not answer',
        '{{ $labels.instance }}: its clients have no connection, if it is down.',
      ),
      warning(
        'PerennialReloadFailed', '1m', 'perennial_config_last_reload_successful == 0',
        'The configuration was not reloaded',
        '{{ $labels.instance }}: it goes on with the one of before.',
      ),
      warning(
        'PerennialClockOff', '2m', 'abs(perennial_clock_time_seconds - timestamp(perennial_clock_time_seconds)) > 5',
        'The clock is off',
        '{{ $labels.instance }}: by {{ $value | humanizeDuration }} against that of Prometheus.',
      ),
      warning(
        'PerennialStoreAway', '2m', 'perennial_store_up == 0',
        'The store cannot be asked',
        '{{ $labels.instance }}: refresh tokens are not used, and what other sidecars revoke is not known.',
      ),
    ] },
  ] }
