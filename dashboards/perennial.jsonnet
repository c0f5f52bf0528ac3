// The source of perennial-fleet.json and perennial-sidecar.json:
//
//   jsonnet -m dashboards dashboards/perennial.jsonnet
//
// With your own address of the runbook, to which they lead: --tla-str runbook=https://wiki.example.com/perennial
local grafana = import 'source/grafana.libsonnet';
local panels = import 'source/panels.libsonnet';

function(runbook='deploy/RUNBOOK.md')
  local job(several) = grafana.variable('job', 'perennial_build_info', ['Job', 'The scrape job.'], several);
  local instance(several) =
    grafana.variable('instance', 'perennial_build_info{job=~"$job"}', ['Sidecar', 'Where it is scraped.'], several);
  local route =
    grafana.variable('route', 'perennial_sessions{job=~"$job", instance=~"$instance"}', ['Route', 'As [[route]] names it.'], true);
  local link = { asDropdown: false, icon: 'external link', includeVars: true, keepTime: true, tags: [], targetBlank: false };
  local links = [
    link { type: 'dashboards', title: 'Perennial', tooltip: 'The other dashboard, of the same choice.', tags: ['perennial'] },
    link { type: 'link', title: 'Runbook', tooltip: 'What to do about an alert.', url: runbook, includeVars: false, keepTime: false, targetBlank: true, icon: 'doc' },
  ];

  {
    'perennial-fleet.json': grafana.dashboard(
      'perennial-fleet',
      'Perennial: fleet',
      'Are clients kept alive? All sidecars together, by route.',
      [job(true), instance(true), route],
      links,
      panels.fleet,
    ),
    'perennial-sidecar.json': grafana.dashboard(
      'perennial-sidecar',
      'Perennial: sidecar',
      'One sidecar in its detail, by route.',
      [job(true), instance(false), route],
      links,
      panels.sidecar,
    ),
  }
