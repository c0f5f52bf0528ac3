{{/*
What a pod with the sidecar has. Each takes the chart's own context: `.` in this chart's templates,
`.Subcharts.perennial` in those of a parent.
*/}}

{{/* Labels, by which the PodMonitor finds the pod. */}}
{{- define "perennial.podLabels" -}}
perennial: {{ include "perennial.fullname" . }}
{{- with .Values.podLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Annotations: another configuration is another pod, and where Prometheus looks. */}}
{{- define "perennial.podAnnotations" -}}
perennial/config: {{ .Values.config | sha256sum | trunc 16 | quote }}
{{- if .Values.metrics.annotations }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ include "perennial.adminPort" . | quote }}
prometheus.io/path: /metrics
{{- end }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Volumes: the configuration and the secrets. */}}
{{- define "perennial.volumes" -}}
- name: perennial-config
  configMap:
    name: {{ include "perennial.fullname" . }}
{{- if .Values.existingSecret }}
- name: perennial-secrets
  secret:
    secretName: {{ .Values.existingSecret }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The container, an item of `initContainers`; with nativeSidecar: false, of `containers`. */}}
{{- define "perennial.sidecar" -}}
- name: perennial
  image: {{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: ["run", "--log-format", {{ .Values.log.format | quote }}, "--log-level", {{ .Values.log.level | quote }}]
  {{- if .Values.nativeSidecar }}
  # This makes it a sidecar. No preStop: hooks run while the application still talks.
  restartPolicy: Always
  {{- else }}
  # The application is told to end at the same moment: Perennial outlives it.
  lifecycle:
    preStop:
      sleep:
        seconds: {{ .Values.classic.preStopSeconds }}
  {{- end }}
  ports:
    - name: perennial-admin
      containerPort: {{ include "perennial.adminPort" . }}
  # The listener accepts, and each route's credential has had its first token.
  startupProbe:
    httpGet:
      path: /startupz
      port: perennial-admin
    periodSeconds: 1
    failureThreshold: {{ .Values.startupSeconds }}
  # The listener accepts, and each route's credential has a token that is still valid.
  readinessProbe:
    httpGet:
      path: /readyz
      port: perennial-admin
    periodSeconds: 5
  # The admin server's loop turns; nothing of the world outside.
  livenessProbe:
    httpGet:
      path: /livez
      port: perennial-admin
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  {{- with .Values.extraEnv }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: ["ALL"]
    seccompProfile:
      type: RuntimeDefault
  volumeMounts:
    - name: perennial-config
      mountPath: /etc/perennial
      readOnly: true
    {{- if .Values.existingSecret }}
    - name: perennial-secrets
      mountPath: /var/run/secrets/perennial
      readOnly: true
    {{- end }}
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}
