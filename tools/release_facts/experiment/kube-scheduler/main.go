// Prints the facts about kube-scheduler.
package main

import (
	"io/ioutil"
	"reflect"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/version"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	appconfig "k8s.io/kubernetes/cmd/kube-scheduler/app/config"
	"k8s.io/kubernetes/cmd/kube-scheduler/app/options"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	"k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"

	"facts/common"
)

const (
	group = "kubescheduler.config.k8s.io"
	kind  = "KubeSchedulerConfiguration"
)

func main() {
	common.Must(ioutil.WriteFile("kubeconfig", []byte(kubeconfig), 0o600))
	facts := &common.Facts{Component: "kube-scheduler", Version: version.Get().GitVersion, Kind: kind}
	newest := versions()[len(versions())-1]
	header := "apiVersion: " + newest.String() + "\nkind: " + kind + "\n"
	facts.Unknown = "lenient"
	if _, err := fresh(header + "unknownField: 1\n").Configs(); err != nil {
		facts.Unknown = "strict"
	}
	common.Experiment(facts, fresh, header)
	common.AddCommand(facts, app.NewSchedulerCommand, mainFlags)
	facts.Gates = common.Gates(utilfeature.DefaultMutableFeatureGate)
	common.Print(facts)
}

const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`

// versions are those group versions of the scheduler's that hold its config, oldest first.
func versions() []schema.GroupVersion {
	found := []schema.GroupVersion{}
	for _, version := range []string{"v1alpha1", "v1alpha2", "v1beta1", "v1beta2", "v1beta3", "v1", "v2"} {
		candidate := schema.GroupVersion{Group: group, Version: version}
		if scheme.Scheme.Recognizes(candidate.WithKind(kind)) {
			found = append(found, candidate)
		}
	}
	return found
}

func fresh(file string) *common.Instance {
	results, err := common.Call(reflect.ValueOf(options.NewOptions))
	common.Must(err)
	settings := results[0].Interface().(*options.Options)
	flags := pflag.NewFlagSet("kube-scheduler", pflag.ContinueOnError)
	for _, set := range named(settings).FlagSets {
		flags.AddFlagSet(set)
	}
	return &common.Instance{Flags: flags, Configs: func() (map[string]interface{}, error) {
		if file != "" {
			settings.ConfigFile = "config.yaml"
			common.Must(ioutil.WriteFile(settings.ConfigFile, []byte(file), 0o600))
		}
		quiet(settings)
		// From 1.22 on, the options begin with an empty config and Config puts in the defaults.
		component := reflect.ValueOf(settings).Elem().FieldByName("ComponentConfig")
		if component.Kind() == reflect.Ptr && component.IsNil() {
			value, err := defaults()
			if err != nil {
				return nil, err
			}
			component.Set(reflect.ValueOf(value))
		}
		complete := &appconfig.Config{}
		_, err := common.Call(reflect.ValueOf(settings).MethodByName("ApplyTo"), complete)
		if err != nil && !strings.Contains(err.Error(), nowhere) {
			return nil, err
		}
		configs := map[string]interface{}{}
		for _, version := range versions() {
			versioned, err := scheme.Scheme.New(version.WithKind(kind))
			common.Must(err)
			copied := complete.ComponentConfig.DeepCopyObject().(*config.KubeSchedulerConfiguration)
			if err := scheme.Scheme.Convert(runtime.Object(copied), versioned, version); err != nil {
				return nil, err
			}
			configs[version.String()] = versioned
		}
		return configs, nil
	}}
}

// named returns the flags by section: a method to 1.22.3, a field from then on.
func named(settings *options.Options) cliflag.NamedFlagSets {
	if method := reflect.ValueOf(settings).MethodByName("Flags"); method.IsValid() {
		return method.Call(nil)[0].Interface().(cliflag.NamedFlagSets)
	}
	return *reflect.ValueOf(settings).Elem().FieldByName("Flags").Interface().(*cliflag.NamedFlagSets)
}

// A network that there is none of, so that the insecure ports (to 1.22) are not listened on.
const nowhere = "nowhere"

// quiet keeps ApplyTo from listening: what it reads from the flags for the config is set before.
func quiet(settings *options.Options) {
	settings.SecureServing.BindPort = 0
	if settings.Master == "" {
		settings.Master = "https://127.0.0.1:1" // so that no kubeconfig is needed (1.37)
	}
	insecure := reflect.ValueOf(settings).Elem().FieldByName("CombinedInsecureServing")
	if !insecure.IsValid() || insecure.IsNil() {
		return
	}
	for _, name := range []string{"Healthz", "Metrics"} {
		if serving := insecure.Elem().FieldByName(name); serving.IsValid() && !serving.IsNil() {
			serving.Elem().FieldByName("BindNetwork").SetString(nowhere)
		}
	}
}
