{{- define "pointsman.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Shorter than Kubernetes allows: the services' names are longer. */}}
{{- define "pointsman.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "pointsman.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pointsman.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pointsman.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "pointsman.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* The gateways' own, so that the pod of `helm test` is none of theirs. */}}
{{- define "pointsman.gatewayLabels" -}}
{{ include "pointsman.selectorLabels" . }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "pointsman.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "pointsman.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "pointsman.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "pointsman.secretName" -}}
{{- if .Values.secrets.existingSecret }}
{{- .Values.secrets.existingSecret }}
{{- else if .Values.secrets.create }}
{{- include "pointsman.fullname" . }}
{{- end }}
{{- end }}

{{/* The values' configuration, with what must agree with the rest of the chart. */}}
{{- define "pointsman.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $server := merge (dict "drain_delay" (printf "%ds" (int .Values.drain.delay)) "drain_timeout" (printf "%ds" (int .Values.drain.timeout))) (default dict $config.server) }}
{{- if eq (int .Values.drain.delay) 0 }}
{{- $server = omit $server "drain_delay" }}
{{- end }}
{{- $_ := set $config "listen" "0.0.0.0:8080" }}
{{- $_ := set $config "admin_listen" "0.0.0.0:9090" }}
{{- $_ := set $config "server" $server }}
{{- $database := default "" $config.database }}
{{- if and $database (ne $database "none") (not (hasPrefix "sqlite:" $database)) (not $config.spill) }}
{{- $_ := set $config "spill" "/data/spill" }}
{{- end }}
{{- if not $config.tenants }}
{{- $config = omit $config "tenants" }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* What no schema can say. */}}
{{- define "pointsman.validate" -}}
{{- $many := or .Values.autoscaling.enabled (gt (int .Values.replicaCount) 1) }}
{{- $database := default "" .Values.config.database }}
{{- if and $many (or (not $database) (hasPrefix "sqlite:" $database)) }}
{{- fail "several gateways keep one ledger in PostgreSQL: give config.database its URL (\"${DATABASE_URL}\"), say none, or set replicaCount to 1" }}
{{- end }}
{{- if and .Values.secrets.existingSecret .Values.secrets.create }}
{{- fail "secrets: give existingSecret or create, not both" }}
{{- end }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) }}
{{- fail "autoscaling: minReplicas is above maxReplicas" }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
{{- fail "ingress: it needs at least one of hosts" }}
{{- end }}
{{- if and (not .Values.config.tenants) (not .Values.config.admin_keys) }}
{{- fail "config: without tenants it needs admin_keys, by which operators make some" }}
{{- end }}
{{- end }}
