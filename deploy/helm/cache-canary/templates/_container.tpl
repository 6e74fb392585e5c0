{{/*
The container, in the pods of a central instance and in those of an application.
*/}}

{{/* What both have in common. */}}
{{- define "cache-canary.container" -}}
image: {{ include "cache-canary.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [serve{{ if include "cache-canary.configName" . }}, -c, /etc/cache-canary/cache-canary.toml{{ end }}]
env:
  {{- /* The ports are stated once, in the values, and take precedence over the file. */}}
  - name: CACHE_CANARY_LISTEN
    value: "[::]:{{ .Values.ports.canary }}"
  {{- with .Values.ports.probes }}
  - name: CACHE_CANARY_PROBES__LISTEN
    value: "[::]:{{ . }}"
  {{- end }}
  {{- with .Values.access.details }}
  - name: CACHE_CANARY_ACCESS__DETAILS
    value: {{ join "," . | quote }}
  {{- end }}
  {{- if .Values.access.tokenSecret.name }}
  - name: CACHE_CANARY_ACCESS__TOKEN_FILE
    value: /run/secrets/cache-canary-token/{{ .Values.access.tokenSecret.key }}
  {{- end }}
  {{- if eq .Values.mode "central" }}
  {{- with .Values.drain }}
  - name: CACHE_CANARY_DRAIN
    value: {{ . }}
  {{- end }}
  {{- if eq .Values.kind "StatefulSet" }}
  - name: POD_INDEX
    valueFrom:
      fieldRef:
        fieldPath: metadata.labels['apps.kubernetes.io/pod-index']
  {{- if .Values.shard }}
  - name: CACHE_CANARY_SHARD__INDEX
    value: $(POD_INDEX)
  - name: CACHE_CANARY_SHARD__OF
    value: {{ .Values.replicas | quote }}
  {{- end }}
  {{- end }}
  {{- end }}
  {{- with .Values.env }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - name: canary
    containerPort: {{ .Values.ports.canary }}
  {{- with .Values.ports.probes }}
  - name: canary-probes
    containerPort: {{ . }}
  {{- end }}
{{- with .Values.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "cache-canary.volumeMounts" . | trim }}
volumeMounts:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A probe: (list CONTEXT PATH TIMING). */}}
{{- define "cache-canary.probe" -}}
{{- $context := index . 0 -}}
httpGet:
  path: {{ index . 1 }}
  port: {{ if $context.Values.ports.probes }}canary-probes{{ else }}canary{{ end }}
  {{- if eq $context.Values.scheme "HTTPS" }}
  scheme: {{ $context.Values.scheme }}
  {{- end }}
{{ toYaml (index . 2) }}
{{- end }}

{{/* Directories, because files that are mounted by `subPath` never show a change. */}}
{{- define "cache-canary.volumeMounts" -}}
{{- if include "cache-canary.configName" . }}
- name: cache-canary
  mountPath: /etc/cache-canary
  readOnly: true
{{- end }}
{{- if .Values.secretName }}
- name: cache-canary-secret
  mountPath: /run/secrets/cache-canary
  readOnly: true
{{- end }}
{{- if .Values.access.tokenSecret.name }}
- name: cache-canary-token
  mountPath: /run/secrets/cache-canary-token
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "cache-canary.volumes" -}}
{{- with include "cache-canary.configName" . }}
- name: cache-canary
  {{- if eq $.Values.config.kind "Secret" }}
  secret:
    secretName: {{ . }}
  {{- else }}
  configMap:
    name: {{ . }}
  {{- end }}
{{- end }}
{{- with .Values.secretName }}
- name: cache-canary-secret
  secret:
    secretName: {{ . }}
{{- end }}
{{- with .Values.access.tokenSecret.name }}
- name: cache-canary-token
  secret:
    secretName: {{ . }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
