{{/*
The pod of a central instance.
*/}}

{{- define "cache-canary.podTemplate" -}}
metadata:
  labels:
    {{- /* Nothing that an upgrade of the chart changes, or it would restart the pods. */}}
    {{- include "cache-canary.selectorLabels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with include "cache-canary.podAnnotations" . | trim }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
spec:
  automountServiceAccountToken: false
  {{- with include "cache-canary.serviceAccountName" . }}
  serviceAccountName: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ .Values.terminationGracePeriodSeconds }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.podSecurityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  containers:
    - name: cache-canary
      {{- include "cache-canary.container" . | nindent 6 }}
      livenessProbe:
        {{- include "cache-canary.probe" (list . "/livez" .Values.probes.liveness) | nindent 8 }}
      {{- /* Not /readyz: one cache that is down would take this pod out of its Service, and its report could not be read. */}}
      readinessProbe:
        {{- include "cache-canary.probe" (list . "/livez" .Values.probes.readiness) | nindent 8 }}
  {{- with include "cache-canary.volumes" . | trim }}
  volumes:
    {{- . | nindent 4 }}
  {{- end }}
  {{- with .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- range . }}
    - {{ omit . "labelSelector" | toYaml | nindent 6 | trim }}
      labelSelector:
        {{- with .labelSelector }}
        {{- toYaml . | nindent 8 }}
        {{- else }}
        matchLabels:
          {{- include "cache-canary.selectorLabels" $ | nindent 10 }}
        {{- end }}
    {{- end }}
  {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}

{{- define "cache-canary.podAnnotations" -}}
{{- if and .Values.scrapeAnnotations (not .Values.podMonitor.enabled) }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .Values.ports.canary | quote }}
prometheus.io/path: /metrics
{{- if eq .Values.scheme "HTTPS" }}
prometheus.io/scheme: {{ lower .Values.scheme }}
{{- end }}
{{- end }}
{{- if .Values.config.restartOnChange }}
checksum/config: {{ sha256sum .Values.config.content }}
{{- end }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}
