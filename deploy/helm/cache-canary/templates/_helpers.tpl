{{/*
Names, labels, and what must hold between values.
*/}}

{{- define "cache-canary.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "cache-canary.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "cache-canary.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "cache-canary.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "cache-canary.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cache-canary.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cache-canary.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "cache-canary.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The labels of the pods that have the container: the chart's own, or those of the application. */}}
{{- define "cache-canary.podSelector" -}}
{{- if eq .Values.mode "central" }}
{{- include "cache-canary.selectorLabels" . }}
{{- else if .Values.sidecar.podLabels }}
{{- toYaml .Values.sidecar.podLabels }}
{{- else -}}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
{{- end }}

{{- define "cache-canary.image" -}}
{{- $repository := required "image.repository must be set: the registry and repository to which you push the image of the Dockerfile" .Values.image.repository }}
{{- $tag := .Values.image.tag }}
{{- if not (or $tag .Values.image.digest) }}
{{- $tag = .Chart.AppVersion }}
{{- end }}
{{- $repository }}{{ with $tag }}:{{ . }}{{ end }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* Empty for the one that every namespace has. */}}
{{- define "cache-canary.serviceAccountName" -}}
{{- if .Values.serviceAccount.name }}
{{- .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create }}
{{- include "cache-canary.fullname" . }}
{{- end }}
{{- end }}

{{/* The name of the object with the configuration; empty if there is none. */}}
{{- define "cache-canary.configName" -}}
{{- if .Values.config.existingName }}
{{- .Values.config.existingName }}
{{- else if .Values.config.content }}
{{- include "cache-canary.fullname" . }}
{{- end }}
{{- end }}

{{/* Fails if values contradict each other. values.schema.json holds each value by itself. */}}
{{- define "cache-canary.validate" -}}
{{- with .Values.config }}
{{- if and .content .existingName }}
{{- fail "config.content and config.existingName exclude each other" }}
{{- end }}
{{- if not (or .content .existingName $.Values.env) }}
{{- fail "no caches: set config.content, config.existingName or env" }}
{{- end }}
{{- end }}
{{- if and .Values.autoscaling.enabled (ne .Values.kind "Deployment") }}
{{- fail "autoscaling.enabled needs kind Deployment" }}
{{- end }}
{{- if and .Values.shard (or (ne .Values.mode "central") (ne .Values.kind "StatefulSet")) }}
{{- fail "shard needs mode central and kind StatefulSet: its pods have numbers" }}
{{- end }}
{{- if and (eq .Values.mode "sidecar") .Values.networkPolicy.enabled }}
{{- if not .Values.sidecar.podLabels }}
{{- fail "networkPolicy.enabled needs sidecar.podLabels: the labels of the application's pods" }}
{{- end }}
{{- if not .Values.networkPolicy.extraIngress }}
{{- fail "networkPolicy.enabled needs networkPolicy.extraIngress: the policy isolates the application's pods, so it must let in their callers" }}
{{- end }}
{{- end }}
{{- end }}
