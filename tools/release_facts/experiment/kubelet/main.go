// Prints the facts about the kubelet.
package main

import (
	"context"
	"io/ioutil"
	"path/filepath"
	"reflect"

	"github.com/spf13/pflag"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/version"
	"k8s.io/kubelet/config/v1beta1"
	"k8s.io/kubernetes/cmd/kubelet/app/options"
	"k8s.io/kubernetes/pkg/kubelet/apis/config"
	"k8s.io/kubernetes/pkg/kubelet/apis/config/scheme"
	"k8s.io/kubernetes/pkg/kubelet/kubeletconfig/configfiles"
	"k8s.io/kubernetes/pkg/util/filesystem"

	"facts/common"
)

const (
	apiVersion = "kubelet.config.k8s.io/v1beta1"
	header     = "apiVersion: " + apiVersion + "\nkind: KubeletConfiguration\n"
)

func main() {
	facts := &common.Facts{Component: "kubelet", Version: version.Get().GitVersion, Kind: "KubeletConfiguration"}
	facts.Unknown = "lenient"
	if _, err := load(header + "unknownField: 1\n"); err != nil {
		facts.Unknown = "strict"
	}
	common.Experiment(facts, fresh, header)
	facts.Gates = common.Gates(utilfeature.DefaultMutableFeatureGate)
	common.Print(facts)
}

func fresh(file string) *common.Instance {
	// The kubelet parses its flags once more over the file's config (kubeletConfigFlagPrecedence, cmd/kubelet/app):
	// flags that are registered over that config do the same.
	settings, err := options.NewKubeletConfiguration()
	common.Must(err)
	if file != "" {
		settings, err = load(file)
		common.Must(err)
	}
	flags := pflag.NewFlagSet("kubelet", pflag.ContinueOnError)
	options.NewKubeletFlags().AddFlags(flags)
	options.AddKubeletConfigFlags(flags, settings)
	options.AddGlobalFlags(flags)
	return &common.Instance{Flags: flags, Configs: func() (map[string]interface{}, error) {
		known, _, err := scheme.NewSchemeAndCodecs()
		if err != nil {
			return nil, err
		}
		versioned := &v1beta1.KubeletConfiguration{}
		err = known.Convert(settings, versioned, nil)
		return map[string]interface{}{apiVersion: versioned}, err
	}}
}

// load reads a config file as the kubelet does: the loader fills in more than the defaults of the type.
func load(text string) (*config.KubeletConfiguration, error) {
	path, err := filepath.Abs("config.yaml")
	common.Must(err)
	common.Must(ioutil.WriteFile(path, []byte(text), 0o600))
	loader, err := configfiles.NewFsLoader(&filesystem.DefaultFs{}, path)
	common.Must(err)
	results, err := common.Call(reflect.ValueOf(loader).MethodByName("Load"), context.Background())
	if err != nil {
		return nil, err
	}
	settings := results[0].Interface().(*config.KubeletConfiguration)
	loaded(settings)
	return settings, nil
}
