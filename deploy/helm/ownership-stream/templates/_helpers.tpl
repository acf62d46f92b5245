{{/* Names and labels. `helm.sh/chart` is no selector: it changes with every version. */}}
{{- define "ownership-stream.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "ownership-stream.fullname" -}}
{{- $name := include "ownership-stream.name" . -}}
{{- $made := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- .Values.fullnameOverride | default $made | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "ownership-stream.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "ownership-stream.selectorLabels" -}}
app.kubernetes.io/name: {{ include "ownership-stream.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "ownership-stream.workerLabels" -}}
{{ include "ownership-stream.selectorLabels" . }}
app.kubernetes.io/component: worker
{{- end -}}

{{- define "ownership-stream.labels" -}}
helm.sh/chart: {{ include "ownership-stream.chart" . }}
{{ include "ownership-stream.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "ownership-stream.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "ownership-stream.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "ownership-stream.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* A setting's value as text: whole numbers without an exponent, mappings and lists as JSON. */}}
{{- define "ownership-stream.text" -}}
{{- if or (kindIs "map" .) (kindIs "slice" .) -}}
{{ toJson . }}
{{- else if and (kindIs "float64" .) (eq (floor .) .) -}}
{{ int64 . }}
{{- else -}}
{{ toString . }}
{{- end -}}
{{- end -}}

{{/* What does not fit together and no schema can say. */}}
{{- define "ownership-stream.check" -}}
{{- $partitions := int (.Values.settings.partitions | default 8) -}}
{{- if and (not .Values.keda.enabled) (gt (int .Values.replicaCount) $partitions) -}}
{{- fail (printf "`replicaCount` %d is above `settings.partitions` %d: a worker without a lane is never ready" (int .Values.replicaCount) $partitions) -}}
{{- end -}}
{{- if .Values.keda.enabled -}}
{{- $most := int (.Values.keda.maxReplicaCount | default $partitions) -}}
{{- if gt $most $partitions -}}
{{- fail (printf "`keda.maxReplicaCount` %d is above `settings.partitions` %d: a worker without a lane is never ready" $most $partitions) -}}
{{- end -}}
{{- if gt (int .Values.keda.minReplicaCount) $most -}}
{{- fail (printf "`keda.minReplicaCount` %d is above `keda.maxReplicaCount` %d" (int .Values.keda.minReplicaCount) $most) -}}
{{- end -}}
{{- end -}}
{{- $least := addf (.Values.settings.shutdown_grace_seconds | default 60) 30 -}}
{{- if lt (float64 .Values.terminationGracePeriodSeconds) $least -}}
{{- fail (printf "`terminationGracePeriodSeconds` %d is below %.0f: a stopping worker has `settings.shutdown_grace_seconds`, and 30 more to end" (int .Values.terminationGracePeriodSeconds) (float64 $least)) -}}
{{- end -}}
{{- end -}}

{{/* Whether the workers get a matrix, or source mappings, of the installation's own. */}}
{{- define "ownership-stream.ownMatrix" -}}
{{- if or .Values.documents.matrix .Values.documents.matrixConfigMap }}true{{ end -}}
{{- end -}}
{{- define "ownership-stream.ownSources" -}}
{{- if or .Values.documents.sources .Values.documents.sourcesConfigMap }}true{{ end -}}
{{- end -}}

{{/* The environment of every process, as YAML; secrets are files, and none of them is here. */}}
{{- define "ownership-stream.environment" -}}
{{- $tls := .Values.kafka.tls -}}
OWNERSHIP_SECRETS_DIR: /etc/ownership-stream/secrets
OWNERSHIP_BROKERS: {{ .Values.kafka.brokers | quote }}
OWNERSHIP_SECURITY_PROTOCOL: {{ .Values.kafka.securityProtocol }}
{{- if hasPrefix "SASL" .Values.kafka.securityProtocol }}
OWNERSHIP_SASL_MECHANISM: {{ .Values.kafka.sasl.mechanism }}
{{- end }}
{{- if $tls.caSecret }}
OWNERSHIP_TLS_CA_PATH: /etc/ownership-stream/tls/ca.crt
{{- end }}
{{- if $tls.certificateSecret }}
OWNERSHIP_TLS_CERTIFICATE_PATH: /etc/ownership-stream/tls/client.crt
OWNERSHIP_TLS_KEY_PATH: /etc/ownership-stream/tls/client.key
{{- end }}
{{- if .Values.redis.url }}
OWNERSHIP_REDIS_URL: {{ .Values.redis.url | quote }}
{{- end }}
{{- if .Values.registry.url }}
OWNERSHIP_REGISTRY_URL: {{ .Values.registry.url | quote }}
{{- end }}
{{- if .Values.registry.caSecret }}
OWNERSHIP_REGISTRY_CA_PATH: /etc/ownership-stream/tls/registry-ca.crt
{{- end }}
{{- if include "ownership-stream.ownMatrix" . }}
OWNERSHIP_MATRIX_PATH: /etc/ownership-stream/matrix/patient.yaml
{{- end }}
{{- if include "ownership-stream.ownSources" . }}
OWNERSHIP_SOURCES_PATH: /etc/ownership-stream/sources
{{- end }}
OWNERSHIP_HTTP_HOST: "0.0.0.0"
OWNERSHIP_HTTP_PORT: {{ .Values.httpPort | int | quote }}
{{- range $name, $value := .Values.settings }}
{{- if not (kindIs "invalid" $value) }}
OWNERSHIP_{{ upper $name }}: {{ include "ownership-stream.text" $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The secrets that are mounted as files named as the settings are, by the volume sources of a projected volume. */}}
{{- define "ownership-stream.secretSources" -}}
{{- if hasPrefix "SASL" .Values.kafka.securityProtocol }}
- secret:
    name: {{ .Values.kafka.sasl.existingSecret }}
    items:
      - {key: {{ .Values.kafka.sasl.usernameKey }}, path: sasl_username}
      - {key: {{ .Values.kafka.sasl.passwordKey }}, path: sasl_password}
{{- end }}
{{- if and .Values.kafka.tls.certificateSecret .Values.kafka.tls.keyPasswordKey }}
- secret:
    name: {{ .Values.kafka.tls.certificateSecret }}
    items:
      - {key: {{ .Values.kafka.tls.keyPasswordKey }}, path: tls_key_password}
{{- end }}
{{- if .Values.redis.existingSecret }}
- secret:
    name: {{ .Values.redis.existingSecret }}
    items:
      - {key: {{ .Values.redis.urlKey }}, path: redis_url}
{{- end }}
{{- if .Values.registry.existingSecret }}
- secret:
    name: {{ .Values.registry.existingSecret }}
    items:
      - {key: {{ .Values.registry.usernameKey }}, path: registry_user}
      - {key: {{ .Values.registry.passwordKey }}, path: registry_password}
{{- end }}
{{- if .Values.hashKey.existingSecret }}
- secret:
    name: {{ .Values.hashKey.existingSecret }}
    items:
      - {key: {{ .Values.hashKey.key }}, path: hash_key}
{{- end }}
{{- end -}}

{{- define "ownership-stream.tlsSources" -}}
{{- if .Values.kafka.tls.caSecret }}
- secret:
    name: {{ .Values.kafka.tls.caSecret }}
    items:
      - {key: {{ .Values.kafka.tls.caKey }}, path: ca.crt}
{{- end }}
{{- if .Values.kafka.tls.certificateSecret }}
- secret:
    name: {{ .Values.kafka.tls.certificateSecret }}
    items:
      - {key: {{ .Values.kafka.tls.certificateKey }}, path: client.crt}
      - {key: {{ .Values.kafka.tls.keyKey }}, path: client.key}
{{- end }}
{{- if .Values.registry.caSecret }}
- secret:
    name: {{ .Values.registry.caSecret }}
    items:
      - {key: {{ .Values.registry.caKey }}, path: registry-ca.crt}
{{- end }}
{{- end -}}

{{/* What the pods of workers, of the hook and of the test have in common. */}}
{{- define "ownership-stream.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .Values.runAsUser | int }}
  runAsGroup: {{ .Values.runAsUser | int }}
  fsGroup: {{ .Values.runAsUser | int }}
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "ownership-stream.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* Mounts and volumes of a process that speaks to Kafka. */}}
{{- define "ownership-stream.linkMounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: secrets, mountPath: /etc/ownership-stream/secrets, readOnly: true}
{{- if include "ownership-stream.tlsSources" . }}
- {name: tls, mountPath: /etc/ownership-stream/tls, readOnly: true}
{{- end }}
{{- end -}}

{{- define "ownership-stream.linkVolumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .Values.tmpSizeLimit }}
- name: secrets
  {{- with include "ownership-stream.secretSources" . }}
  projected:
    defaultMode: 0440
    sources:
      {{- . | nindent 6 }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- with include "ownership-stream.tlsSources" . }}
- name: tls
  projected:
    defaultMode: 0440
    sources:
      {{- . | nindent 6 }}
{{- end }}
{{- end -}}

{{/* The environment written into a pod: for the hook, which runs before the ConfigMap is there. */}}
{{- define "ownership-stream.inlineEnvironment" -}}
{{- range $name, $value := include "ownership-stream.environment" . | fromYaml }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end -}}
