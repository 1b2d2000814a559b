// Prints the facts about kube-apiserver: it has flags only.
package main

import (
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/version"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/pkg/kubeapiserver/options"

	"facts/common"
)

func main() {
	facts := &common.Facts{Component: "kube-apiserver", Version: version.Get().GitVersion, Flags: map[string]*common.Flag{}}
	common.AddCommand(facts, app.NewAPIServerCommand, mainFlags)
	facts.Gates = common.Gates(utilfeature.DefaultMutableFeatureGate)
	off := options.DefaultOffAdmissionPlugins()
	facts.Plugins = map[string]bool{}
	for _, name := range options.AllOrderedPlugins {
		facts.Plugins[name] = !off.Has(name)
	}
	common.Print(facts)
}
