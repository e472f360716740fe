{{/* The prefix of all names. */}}
{{- define "tko.fullname" -}}
{{- if contains "tko" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-tko" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that never change, for selectors. Takes a list: the context, the component. */}}
{{- define "tko.selector" -}}
{{- $context := index . 0 -}}
app.kubernetes.io/name: tko
app.kubernetes.io/instance: {{ $context.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of an object. Takes a list: the context, the component. */}}
{{- define "tko.labels" -}}
{{- $context := index . 0 -}}
{{ include "tko.selector" . }}
app.kubernetes.io/version: {{ $context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $context.Release.Service }}
{{- end -}}

{{- define "tko.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{/* The component that serves: the data service, or `tko up`. */}}
{{- define "tko.server" -}}
{{- if eq .Values.mode "small" }}up{{ else }}data{{ end -}}
{{- end -}}

{{/* The Service in front of the Kubernetes API. */}}
{{- define "tko.apiService" -}}
{{ include "tko.fullname" . }}-api
{{- end -}}

{{/* The Service in front of the gRPC API. */}}
{{- define "tko.dataService" -}}
{{ include "tko.fullname" . }}-data
{{- end -}}

{{/* A listening address with a port. Takes a list: the context, the port. */}}
{{- define "tko.listen" -}}
{{- $address := (index . 0).Values.listenAddress -}}
{{- if contains ":" $address }}[{{ $address }}]{{ else }}{{ $address }}{{ end }}:{{ index . 1 }}
{{- end -}}

{{- define "tko.certificateSecret" -}}
{{- .Values.certificates.secretName | default (printf "%s-certificate" (include "tko.fullname" .)) -}}
{{- end -}}

{{- define "tko.callersSecret" -}}
{{- .Values.callers.secretName | default (printf "%s-callers" (include "tko.fullname" .)) -}}
{{- end -}}

{{- define "tko.postgresqlSecret" -}}
{{- .Values.postgresql.secretName | default (printf "%s-postgresql" (include "tko.fullname" .)) -}}
{{- end -}}

{{/* The names in the certificate, as a list in JSON. */}}
{{- define "tko.names" -}}
{{- $names := list "localhost" -}}
{{- range $service := list (include "tko.apiService" .) (include "tko.dataService" .) -}}
{{- $full := printf "%s.%s.svc" $service $.Release.Namespace -}}
{{- $names = concat $names (list $service $full (printf "%s.cluster.local" $full)) -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

{{/* Makes certificates once, or takes those of the cluster, and keeps them in .Values.generated. */}}
{{- define "tko.generate" -}}
{{- if not .Values.generated -}}
{{- $old := lookup "v1" "Secret" .Release.Namespace (include "tko.certificateSecret" .) -}}
{{- if and $old $old.data (index $old.data "ca.crt") -}}
{{- $data := $old.data -}}
{{- $_ := set .Values "generated" (dict "ca" (index $data "ca.crt") "certificate" (index $data "tls.crt") "key" (index $data "tls.key")) -}}
{{- else -}}
{{- $days := int .Values.certificates.days -}}
{{- $ca := genCA (include "tko.fullname" .) $days -}}
{{- $names := include "tko.names" . | fromJsonArray -}}
{{- $made := genSignedCert (printf "%s.%s.svc" (include "tko.apiService" .) .Release.Namespace | trunc 64) nil $names $days $ca -}}
{{- $_ := set .Values "generated" (dict "ca" (b64enc $ca.Cert) "certificate" (b64enc $made.Cert) "key" (b64enc $made.Key)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What all pods have. */}}
{{- define "tko.pod" -}}
# Variables of Services, such as TKO_DATA_PORT, could be taken for flags.
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
terminationGracePeriodSeconds: 40
{{- end -}}

{{- define "tko.podMetadata" -}}
{{- $context := index . 0 -}}
labels:
  {{- include "tko.labels" . | nindent 2 }}
  {{- with $context.Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $context.Values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "tko.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "tko.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Probes of a container of TKO. The server answers once it has reached the database. */}}
{{- define "tko.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: probes}
  periodSeconds: 2
  failureThreshold: 90
livenessProbe:
  httpGet: {path: /livez, port: probes}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: probes}
  periodSeconds: 5
  timeoutSeconds: 5
lifecycle:
  # Time for others to learn that this pod takes no more connections.
  preStop:
    sleep: {seconds: 5}
{{- end -}}

{{/* Pods of one component on different nodes, where possible. Takes a list: the context, the component. */}}
{{- define "tko.apart" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "tko.selector" . | nindent 12 }}
{{- end -}}

{{/* Flags of all processes: where metrics are served. */}}
{{- define "tko.metricsArgs" -}}
{{- if .Values.metrics.enabled }}
- '--metrics={{ include "tko.listen" (list . 9464) }}'
- --insecure
{{- end }}
{{- end -}}

{{/* Flags of servers: the data service and `tko up`. */}}
{{- define "tko.serverArgs" -}}
- --backend=postgresql
- --backend-connection-timeout=2m
- '--web={{ .Values.web.enabled }}'
- '--probe-address={{ include "tko.listen" (list . 8086) }}'
- '--plugins={{ .Values.plugins }}'
{{- if .Values.kubernetesApi.enabled }}
- --kubernetes
- --kubernetes-cluster
- '--kubernetes-address={{ .Values.listenAddress }}'
- --kubernetes-certificate=/etc/tko/certificate/tls.crt
- --kubernetes-key=/etc/tko/certificate/tls.key
{{- end }}
{{- include "tko.metricsArgs" . }}
{{- end -}}

{{/* Flags of preparers and schedulers: how to reach the data service. Takes a list: the context, the component. */}}
{{- define "tko.clientArgs" -}}
{{- $context := index . 0 -}}
- '--grpc-address={{ include "tko.dataService" $context }}.{{ $context.Release.Namespace }}.svc'
- --grpc-ca=/etc/tko/certificate/ca.crt
- '--grpc-token=/etc/tko/callers/{{ index . 1 }}'
- '--probe-address={{ include "tko.listen" (list $context 8086) }}'
- '--plugins={{ $context.Values.plugins }}'
{{- include "tko.metricsArgs" $context }}
{{- end -}}

{{/* Flags of schedulers: where manifests go. */}}
{{- define "tko.manifestArgs" -}}
{{- if eq .Values.manifests.mode "git" }}
- --manifests-git=/var/lib/tko/manifests
{{- with .Values.manifests.push }}
- '--manifests-push={{ . }}'
{{- end }}
{{- else if eq .Values.manifests.mode "folder" }}
- --manifests=/var/lib/tko/manifests
{{- end }}
{{- end -}}

{{/* Flags of schedulers: the clusters of sites. */}}
{{- define "tko.clusterArgs" -}}
{{- if .Values.clusters.enabled }}
- --clusters
{{- if .Values.clusters.kubeconfigsSecret }}
- --kubeconfigs=/etc/tko/kubeconfigs
{{- end }}
{{- if .Values.clusters.managementSecret }}
- --management-kubeconfig=/etc/tko/management/kubeconfig
{{- end }}
{{- end }}
{{- end -}}

{{- define "tko.clusterMounts" -}}
{{- if and .Values.clusters.enabled .Values.clusters.kubeconfigsSecret }}
- name: kubeconfigs
  mountPath: /etc/tko/kubeconfigs
  readOnly: true
{{- end }}
{{- if and .Values.clusters.enabled .Values.clusters.managementSecret }}
- name: management
  mountPath: /etc/tko/management
  readOnly: true
{{- end }}
{{- end -}}

{{- define "tko.clusterVolumes" -}}
{{- if and .Values.clusters.enabled .Values.clusters.kubeconfigsSecret }}
- name: kubeconfigs
  secret:
    secretName: {{ .Values.clusters.kubeconfigsSecret }}
{{- end }}
{{- if and .Values.clusters.enabled .Values.clusters.managementSecret }}
- name: management
  secret:
    secretName: {{ .Values.clusters.managementSecret }}
    items:
      - key: kubeconfig
        path: kubeconfig
{{- end }}
{{- end -}}

{{/* Environment of every container of TKO. */}}
{{- define "tko.env" -}}
- name: HOME
  value: /tmp
{{- end -}}

{{- define "tko.manifestClaim" -}}
metadata:
  name: manifests
spec:
  accessModes: [ReadWriteOnce]
  {{- with .Values.manifests.storageClassName }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ .Values.manifests.storage }}
{{- end -}}
