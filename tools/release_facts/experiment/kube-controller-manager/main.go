// Prints the facts about kube-controller-manager: its config file is not read from a flag, so it has flags only.
package main

import (
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/version"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"

	"facts/common"
)

func main() {
	facts := &common.Facts{
		Component: "kube-controller-manager", Version: version.Get().GitVersion, Flags: map[string]*common.Flag{},
	}
	common.AddCommand(facts, app.NewControllerManagerCommand, mainFlags)
	facts.Gates = common.Gates(utilfeature.DefaultMutableFeatureGate)
	common.Print(facts)
}
