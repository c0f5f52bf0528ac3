// Uptime, for dashboards and rules alike: the share of the clients' time in which their messages passed.
// A parked session has no client, so that its time is nobody's.
function(matchers, window, by)
  local seconds(states) =
    local all = std.join(', ', std.filter(function(one) one != '', [matchers, states]));
    'sum%s(rate(perennial_session_seconds_total{%s}[%s]))' % [if by == '' then '' else ' by (%s) ' % by, all, window];
  '%s / (%s > 0)' % [seconds('state=~"live|exchanging"'), seconds('state!="parked"')]
