{{- define "perennial.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "perennial.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "perennial.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "perennial.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "perennial.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "perennial.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/*
The port of [admin] in the configuration: what the probes and Prometheus ask. On loopback neither would reach
it, and the pod would never be ready: refused here, with the line to write.
*/}}
{{- define "perennial.adminPort" -}}
{{- $address := "" -}}
{{- range regexSplit "(?m)^[ \t]*\\[" .Values.config -1 -}}
{{- if hasPrefix "admin]" . -}}
{{- $address = regexFind "(?m)^[ \t]*address[ \t]*=[ \t]*[\"'][^\"']+" . | regexFind "[^\"']+$" -}}
{{- end -}}
{{- end -}}
{{- if or (eq $address "") (hasPrefix "127." $address) (hasPrefix "[::1]" $address) -}}
{{- fail "config: the kubelet cannot reach [admin]; write\n[admin]\naddress = \"0.0.0.0:7371\"" -}}
{{- end -}}
{{- regexFind "[0-9]+$" $address -}}
{{- end -}}

{{/*
A file of dashboards/, with the address of the runbook: (list . "files/rules.yml"). In files/ are links to them, which
Helm follows.
*/}}
{{- define "perennial.monitoringFile" -}}
{{- $root := index . 0 -}}
{{- $root.Files.Get (index . 1) | replace "deploy/RUNBOOK.md" $root.Values.metrics.runbookUrl -}}
{{- end -}}
