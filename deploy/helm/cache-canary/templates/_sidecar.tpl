{{/*
For the pod template of an application whose chart has this one among its dependencies:

  initContainers:
    {{- include "cache-canary.sidecar.container" . | nindent 8 }}
  volumes:
    {{- include "cache-canary.sidecar.volumes" . | nindent 8 }}

Both take the context of that chart. If the dependency has an alias, they take the context of the alias:
(index .Subcharts "ALIAS").
*/}}

{{/* A native sidecar: it starts before the application, runs beside it, and its readiness is part of the pod's. */}}
{{- define "cache-canary.sidecar.container" -}}
{{- $context := get (.Subcharts | default dict) "cache-canary" | default . }}
{{- with $context }}
{{- if ne .Values.mode "sidecar" }}
{{- fail "cache-canary.sidecar.container needs the value mode: sidecar" }}
{{- end -}}
- name: cache-canary
  restartPolicy: Always
  {{- include "cache-canary.container" . | nindent 2 }}
  startupProbe:
    {{- include "cache-canary.probe" (list . .Values.sidecar.startupPath .Values.probes.startup) | nindent 4 }}
  livenessProbe:
    {{- include "cache-canary.probe" (list . "/livez" .Values.probes.liveness) | nindent 4 }}
  readinessProbe:
    {{- include "cache-canary.probe" (list . "/readyz" .Values.probes.readiness) | nindent 4 }}
{{- end }}
{{- end }}

{{- define "cache-canary.sidecar.volumes" -}}
{{- include "cache-canary.volumes" (get (.Subcharts | default dict) "cache-canary" | default .) | trim }}
{{- end }}
