//go:build tools

// Package tools names what is built here, so that go.mod has it.
package tools

import _ "k8s.io/kubernetes/cmd/kube-apiserver"
