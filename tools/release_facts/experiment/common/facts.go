// Package common finds out by experiment what the flags of a component of Kubernetes do.
//
// Each flag is set, alone, on a fresh instance of the component's options, the component's own code applies it, and the
// config object that comes out is compared, path by path, with that of an instance without the flag. The difference is
// what the flag sets in the config file.
package common

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"
	"sync/atomic"
	"unsafe"

	"github.com/spf13/pflag"
)

// Flag is a flag as the component registers it, and what it does.
type Flag struct {
	Type       string `json:"type"`
	Default    string `json:"default,omitempty"`
	Deprecated string `json:"deprecated,omitempty"`
	Hidden     bool   `json:"hidden,omitempty"`
	// The text that the experiment gave it; empty where no text was taken, or where none changed anything.
	Tried string `json:"tried,omitempty"`
	// By apiVersion of the config file, then by path: the value that the flag sets.
	Sets map[string]map[string]interface{} `json:"sets,omitempty"`
	// What it still sets beside a config file.
	Beside map[string]map[string]interface{} `json:"beside,omitempty"`
	// What it sets beside another flag, by "--flag=text", where that differs from Sets.
	With map[string]map[string]map[string]interface{} `json:"with,omitempty"`
}

// Field is a field of the config file.
type Field struct {
	// Its place among the fields of the type.
	Place   int         `json:"place"`
	Type    string      `json:"type"`
	Default interface{} `json:"default,omitempty"`
}

// Facts is what one component of one release is.
type Facts struct {
	Component string                      `json:"component"`
	Version   string                      `json:"version"`
	Kind      string                      `json:"kind,omitempty"`
	Flags     map[string]*Flag            `json:"flags"`
	Configs   map[string]map[string]Field `json:"configs,omitempty"`
	// Values without a config file, where they differ from the fields' defaults: by apiVersion, then by path.
	WithoutFile map[string]map[string]interface{} `json:"withoutFile,omitempty"`
	// Unknown says what becomes of a file with an unknown field: "strict" (refused) or "lenient".
	Unknown string                 `json:"unknown,omitempty"`
	Gates   map[string]interface{} `json:"gates,omitempty"`
	// Admission plugins: whether they are on by default.
	Plugins map[string]bool `json:"plugins,omitempty"`
}

// Instance is one instance of a component's options: its flags, and what they make of a config.
type Instance struct {
	Flags *pflag.FlagSet
	// Configs applies the flags as the component does; it returns the config in each apiVersion.
	Configs func() (map[string]interface{}, error)
	// Defaults is the default of the config's type in each apiVersion; nil where Configs shows all there is.
	Defaults map[string]interface{}
}

// Experiment sets each flag of a component alone and reports what changes.
//
// fresh returns a new instance; file is the text of a config file, or empty where there is none. modes are flags, as
// "flag=text", on which it may depend what the others do.
func Experiment(facts *Facts, fresh func(file string) *Instance, file string, modes ...string) {
	plain := fresh("")
	facts.Flags = map[string]*Flag{}
	Add(facts, plain.Flags)
	loaded := fresh(file)
	without, beside := flattened(plain), flattened(loaded)
	facts.Configs, facts.WithoutFile = map[string]map[string]Field{}, map[string]map[string]interface{}{}
	for version, leaves := range beside {
		fields := map[string]Field{}
		for path, leaf := range leaves {
			fields[path] = Field{Place: leaf.place, Type: leaf.kind, Default: leaf.value}
		}
		if config, ok := loaded.Defaults[version]; ok {
			for path, leaf := range Flatten(config) {
				if fields[path].Default == nil {
					fields[path] = Field{Place: leaf.place, Type: leaf.kind, Default: leaf.value}
				}
			}
		}
		facts.Configs[version] = fields
		facts.WithoutFile[version] = changed(leaves, without[version])
	}
	names := []string{}
	for name := range facts.Flags {
		// Last: some components apply their feature gates to the whole process.
		if name != "--feature-gates" {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range append(names, "--feature-gates") {
		if flag := facts.Flags[name]; flag != nil {
			try(flag, strings.TrimPrefix(name, "--"), fresh, file, without, beside)
			for _, mode := range modes {
				parts := strings.SplitN(mode, "=", 2)
				if flag.Tried != "" && name != "--"+parts[0] && name != "--feature-gates" {
					tryWith(flag, strings.TrimPrefix(name, "--"), fresh, parts[0], parts[1])
				}
			}
		}
	}
}

// Add adds the flags of a set that are not there yet.
func Add(facts *Facts, flags *pflag.FlagSet) {
	flags.VisitAll(func(flag *pflag.Flag) {
		name := "--" + strings.Replace(flag.Name, "_", "-", -1)
		if facts.Flags[name] == nil {
			facts.Flags[name] = &Flag{
				Type: flag.Value.Type(), Default: flag.DefValue, Deprecated: flag.Deprecated, Hidden: flag.Hidden,
			}
		}
	})
}

// AddCommand adds the flags that the options do not have: those of the command, of its main, and of cobra.
func AddCommand(facts *Facts, command interface{}, mainFlags func(*pflag.FlagSet)) {
	results, err := Call(reflect.ValueOf(command))
	Must(err)
	cobra := results[0]
	cobra.MethodByName("InitDefaultHelpFlag").Call(nil)
	flags := cobra.MethodByName("Flags").Call(nil)[0].Interface().(*pflag.FlagSet)
	mainFlags(flags)
	Add(facts, flags)
	Add(facts, pflag.CommandLine) // cobra parses these too
}

// Texts that flags take, one of which is another value than the default, in the order in which they are tried.
var texts = []string{
	"true", "false", "7", "17", "17s", "10.7.0.0/16", "10.7.7.7", "10.7.7.7:7007", "experiment", "json", "nftables",
	"ipvs", "7Mi", "a=b", "AllAlpha=true", "memory.available<7%", "memory=7Mi", "memory=7%", "a=b:NoSchedule",
	"0:memory=7Mi", "7-17", "a=7", "static", "restricted", "a=7,b=17", "AlwaysAllow", "Webhook", "VersionTLS13",
	"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "7=17s", "/experiment",
}

func try(flag *Flag, name string, fresh func(string) *Instance, file string, without, beside map[string]map[string]leaf) {
	if name == "config" || name == "config-dir" || name == "version" || name == "help" || name == "write-config-to" || name == "cleanup" {
		return
	}
	for _, text := range append(own[name], texts...) {
		instance := fresh("")
		target := instance.Flags.Lookup(name)
		if target == nil {
			target = instance.Flags.Lookup(strings.Replace(name, "-", "_", -1))
		}
		before := target.Value.String()
		if instance.Flags.Set(target.Name, text) != nil || target.Value.String() == before {
			continue
		}
		sets, err := results(instance)
		if err != nil {
			continue
		}
		flag.Tried = text
		flag.Sets = differences(without, sets)
		withFile := fresh(file)
		if withFile.Flags.Set(target.Name, text) == nil {
			if sets, err := results(withFile); err == nil {
				flag.Beside = differences(beside, sets)
			}
		}
		if flag.Sets != nil || own[name] == nil {
			return
		}
	}
}

// tryWith notes down what the flag does beside another one.
func tryWith(flag *Flag, name string, fresh func(string) *Instance, mode, text string) {
	alone, both := fresh(""), fresh("")
	for _, instance := range []*Instance{alone, both} {
		if alone.Flags.Lookup(mode) == nil || instance.Flags.Set(mode, text) != nil {
			return
		}
	}
	if both.Flags.Set(name, flag.Tried) != nil {
		return
	}
	before, err := results(alone)
	if err != nil {
		return
	}
	after, err := results(both)
	if err != nil {
		return
	}
	if sets := differences(before, after); !reflect.DeepEqual(sets, flag.Sets) {
		if flag.With == nil {
			flag.With = map[string]map[string]map[string]interface{}{}
		}
		flag.With["--"+mode+"="+text] = sets
	}
}

// Texts for flags that take no other.
var own = map[string][]string{
	"proxy-mode": {"ipvs", "nftables"}, "cpu-manager-policy": {"static"}, "memory-manager-policy": {"Static"},
	"topology-manager-policy": {"restricted"}, "topology-manager-scope": {"pod"}, "cgroup-driver": {"systemd"},
	"hairpin-mode": {"hairpin-veth"}, "logging-format": {"json"}, "kubeconfig": {"kubeconfig"},
}

func results(instance *Instance) (found map[string]map[string]leaf, err error) {
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("%v", problem)
		}
	}()
	configs, err := instance.Configs()
	if err != nil {
		return nil, err
	}
	found = map[string]map[string]leaf{}
	for version, config := range configs {
		found[version] = Flatten(config)
	}
	return found, nil
}

func flattened(instance *Instance) map[string]map[string]leaf {
	found, err := results(instance)
	Must(err)
	return found
}

func differences(before, after map[string]map[string]leaf) map[string]map[string]interface{} {
	var found map[string]map[string]interface{}
	for version, leaves := range after {
		if values := changed(before[version], leaves); len(values) > 0 {
			if found == nil {
				found = map[string]map[string]interface{}{}
			}
			found[version] = values
		}
	}
	return found
}

func changed(before, after map[string]leaf) map[string]interface{} {
	values := map[string]interface{}{}
	for path, leaf := range after {
		if !reflect.DeepEqual(before[path].value, leaf.value) {
			values[path] = leaf.value
		}
	}
	return values
}

// Must ends the program where there is an error.
func Must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Print writes the facts as JSON, keys in order.
func Print(facts *Facts) {
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", " ")
	Must(encoder.Encode(facts))
}

// Call calls a function or method that has other arguments or results in other releases.
//
// Arguments are taken by type from given; the zero value where none fits. An error among the results is returned.
func Call(function reflect.Value, given ...interface{}) ([]reflect.Value, error) {
	kind := function.Type()
	arguments := []reflect.Value{}
	for i := 0; i < kind.NumIn(); i++ {
		if kind.IsVariadic() && i == kind.NumIn()-1 {
			break
		}
		argument := reflect.Zero(kind.In(i))
		for _, value := range given {
			if value != nil && reflect.TypeOf(value).AssignableTo(kind.In(i)) {
				argument = reflect.ValueOf(value)
			}
		}
		arguments = append(arguments, argument)
	}
	results := function.Call(arguments)
	for _, result := range results {
		if err, ok := result.Interface().(error); ok && err != nil {
			return results, err
		}
	}
	return results, nil
}

// Gates reads the feature gates that a component registers, with default and stage.
func Gates(registry interface{}) map[string]interface{} {
	found := map[string]interface{}{}
	known := gates(reflect.ValueOf(registry))
	for _, key := range known.MapKeys() {
		spec := known.MapIndex(key)
		row := map[string]interface{}{"default": spec.FieldByName("Default").Bool()}
		if stage := fmt.Sprint(spec.FieldByName("PreRelease").Interface()); stage != "" {
			row["stage"] = stage
		}
		if spec.FieldByName("LockToDefault").Bool() {
			row["locked"] = true
		}
		found[fmt.Sprint(key.Interface())] = row
	}
	return found
}

func gates(registry reflect.Value) reflect.Value {
	if method := registry.MethodByName("GetAll"); method.IsValid() {
		return method.Call(nil)[0]
	}
	// Older releases keep them in a private field.
	private := registry.Elem().FieldByName("known")
	value := reflect.NewAt(private.Type(), unsafe.Pointer(private.UnsafeAddr())).Elem()
	if value.Kind() != reflect.Ptr {
		value = value.Addr()
	}
	return reflect.ValueOf(value.Interface().(*atomic.Value).Load())
}
