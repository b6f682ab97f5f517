{{- define "cloister.fullname" -}}
{{- if eq .Release.Name "cloister" -}}cloister{{- else -}}{{ printf "%s-cloister" .Release.Name | trunc 48 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{- define "cloister.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end -}}

{{/* Of (list . "kms"): what an object's pods are selected by. */}}
{{- define "cloister.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: cloister
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "cloister.labels" -}}
{{- $root := index . 0 -}}
{{ include "cloister.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version }}
{{- end -}}

{{- define "cloister.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "cloister.containerSecurity" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "cloister.dnsEgress" -}}
{{- with .Values.networkPolicy.dns }}
- to:
    {{- toYaml . | nindent 4 }}
  ports:
    - { protocol: UDP, port: 53 }
    - { protocol: TCP, port: 53 }
{{- end }}
{{- end -}}

{{/* A container's resources, with those of SGX. Of extended resources a request is the limit. */}}
{{- define "cloister.kmsResources" -}}
{{- $sgx := .Values.kms.sgx -}}
{{- $limits := dict -}}
{{- if $sgx.enabled -}}
{{- if eq $sgx.plugin "alibaba" -}}
{{- $_ := set $limits "alibabacloud.com/sgx_epc_MiB" ($sgx.epcMiB | int | toString) -}}
{{- else -}}
{{- $_ := set $limits "sgx.intel.com/epc" (printf "%dMi" (int $sgx.epcMiB)) -}}
{{- $_ := set $limits "sgx.intel.com/enclave" "1" -}}
{{- $_ := set $limits "sgx.intel.com/provision" "1" -}}
{{- end -}}
{{- end -}}
{{- toYaml (mergeOverwrite (deepCopy .Values.kms.resources) (dict "limits" $limits)) -}}
{{- end -}}

{{- define "cloister.pccsUrl" -}}
https://{{ include "cloister.fullname" . }}-pccs.{{ .Release.Namespace }}.svc:{{ .Values.pccs.service.port }}
{{- end -}}
