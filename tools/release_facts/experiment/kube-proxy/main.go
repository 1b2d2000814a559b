// Prints the facts about kube-proxy.
package main

import (
	"io"
	"io/ioutil"
	"reflect"
	"unsafe"

	"github.com/spf13/pflag"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/component-base/version"
	"k8s.io/kube-proxy/config/v1alpha1"
	"k8s.io/kubernetes/cmd/kube-proxy/app"
	"k8s.io/kubernetes/pkg/proxy/apis/config"
	"k8s.io/kubernetes/pkg/proxy/apis/config/scheme"

	"facts/common"
)

const (
	apiVersion = "kubeproxy.config.k8s.io/v1alpha1"
	header     = "apiVersion: " + apiVersion + "\nkind: KubeProxyConfiguration\n"
)

func main() {
	facts := &common.Facts{Component: "kube-proxy", Version: version.Get().GitVersion, Kind: "KubeProxyConfiguration"}
	facts.Unknown = "lenient"
	if _, err := fresh(header + "unknownField: 1\n").Configs(); err != nil {
		facts.Unknown = "strict"
	}
	common.Experiment(facts, fresh, header, "proxy-mode=nftables", "proxy-mode=ipvs")
	common.AddCommand(facts, app.NewProxyCommand, mainFlags)
	facts.Gates = common.Gates(utilfeature.DefaultMutableFeatureGate)
	common.Print(facts)
}

func fresh(file string) *common.Instance {
	options := app.NewOptions()
	private := reflect.ValueOf(options).Elem().FieldByName("config")
	settings := reflect.NewAt(private.Type(), unsafe.Pointer(private.UnsafeAddr())).Elem()
	// NewProxyCommand puts the defaults in before it registers the flags (to 1.28; NewOptions does from then on).
	if method := reflect.ValueOf(options).MethodByName("ApplyDefaults"); method.IsValid() {
		results, err := common.Call(method, settings.Interface())
		common.Must(err)
		settings.Set(results[0])
	}
	flags := pflag.NewFlagSet("kube-proxy", pflag.ContinueOnError)
	options.AddFlags(flags)
	typed := &v1alpha1.KubeProxyConfiguration{}
	scheme.Scheme.Default(typed)
	defaults := map[string]interface{}{apiVersion: typed}
	return &common.Instance{Flags: flags, Defaults: defaults, Configs: func() (map[string]interface{}, error) {
		if file != "" {
			options.ConfigFile = "config.yaml"
			common.Must(ioutil.WriteFile(options.ConfigFile, []byte(file), 0o600))
		}
		_, err := common.Call(reflect.ValueOf(options).MethodByName("Complete"), flags)
		if err != nil {
			return nil, err
		}
		closeWatcher(options)
		versioned := &v1alpha1.KubeProxyConfiguration{}
		err = scheme.Scheme.Convert(settings.Interface().(*config.KubeProxyConfiguration), versioned, nil)
		return map[string]interface{}{apiVersion: versioned}, err
	}}
}

// closeWatcher ends the watch of the config file that Complete begins: there may be few at a time.
func closeWatcher(options *app.Options) {
	private := reflect.ValueOf(options).Elem().FieldByName("watcher")
	if !private.IsValid() || private.IsNil() {
		return
	}
	inner := private.Elem().Elem().FieldByName("watcher")
	if inner.IsValid() && !inner.IsNil() {
		common.Must(reflect.NewAt(inner.Type(), unsafe.Pointer(inner.UnsafeAddr())).Elem().Interface().(io.Closer).Close())
	}
}
