// Uptime, for dashboards and rules alike: the share of the clients' time in which their messages passed.
// A parked session has no client, so that its time is nobody's.
//
// `by` names the labels that stay, `without` those that go; a dashboard takes the one, a rule the other.
function(matchers, window, by='', without='')
  local group = if by != '' then ' by (%s) ' % by else if without != '' then ' without (%s) ' % without else '';
  local seconds(states) =
    local all = std.join(', ', std.filter(function(one) one != '', [matchers, states]));
    'sum%s(rate(perennial_session_seconds_total{%s}[%s]))' % [group, all, window];
  '%s / (%s > 0)' % [seconds('state=~"live|exchanging"'), seconds('state!="parked"')]
