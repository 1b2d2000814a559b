package common

import (
	"encoding/json"
	"reflect"
	"strings"
)

type leaf struct {
	place int
	kind  string
	value interface{}
}

// Flatten returns the leaves of a config object by path, with type and value; nil and empty fields too.
//
// A field that is unset has no value. Paths are those of the JSON tags, joined by dots.
func Flatten(config interface{}) map[string]leaf {
	leaves := map[string]leaf{}
	walk("", reflect.Indirect(reflect.ValueOf(config)), leaves, true)
	return leaves
}

func walk(prefix string, value reflect.Value, leaves map[string]leaf, set bool) {
	kind := value.Type()
	for i := 0; i < kind.NumField(); i++ {
		field := kind.Field(i)
		name := strings.Split(field.Tag.Get("json"), ",")[0]
		inline := strings.Contains(field.Tag.Get("json"), ",inline") || (field.Anonymous && name == "")
		if field.Name == "TypeMeta" || name == "-" || (name == "" && !inline) || field.PkgPath != "" {
			continue
		}
		path := prefix
		if !inline {
			path = strings.TrimPrefix(prefix+"."+name, ".")
		}
		child, childSet := value.Field(i), set
		if child.Kind() == reflect.Ptr {
			if childSet = childSet && !child.IsNil(); child.IsNil() {
				child = reflect.New(child.Type().Elem())
			}
			child = child.Elem()
		} else if empty(child) {
			childSet = childSet && child.Kind() == reflect.Struct && !opaque(child.Type())
		}
		if child.Kind() == reflect.Struct && !opaque(child.Type()) {
			if !inline {
				leaves[path] = leaf{place: len(leaves), kind: "object"}
			}
			walk(path, child, leaves, childSet)
			continue
		}
		leaves[path] = leaf{place: len(leaves), kind: typeName(child.Type()), value: plain(child, childSet)}
	}
}

// A struct that is one value in a file: it writes its own JSON.
func opaque(kind reflect.Type) bool {
	marshaler := reflect.TypeOf((*json.Marshaler)(nil)).Elem()
	return kind.Implements(marshaler) || reflect.PtrTo(kind).Implements(marshaler)
}

func typeName(kind reflect.Type) string {
	switch {
	case kind.Kind() == reflect.Ptr:
		return typeName(kind.Elem())
	case kind.Kind() == reflect.Struct && opaque(kind):
		if kind.Name() == "Duration" || strings.HasPrefix(kind.Name(), "TimeOrMetaDuration") {
			return "duration"
		}
		return strings.ToLower(kind.Name())
	case kind.Kind() == reflect.Struct:
		return "object"
	case kind.Kind() == reflect.Slice:
		return "list(" + typeName(kind.Elem()) + ")"
	case kind.Kind() == reflect.Map:
		return "map(" + typeName(kind.Key()) + "," + typeName(kind.Elem()) + ")"
	}
	return kind.Kind().String()
}

// A zero value that no pointer sets says nothing.
func empty(value reflect.Value) bool {
	switch value.Kind() {
	case reflect.Slice, reflect.Map:
		return value.Len() == 0
	}
	return reflect.DeepEqual(value.Interface(), reflect.Zero(value.Type()).Interface())
}

// plain is the value as JSON has it; nil where it is unset.
func plain(value reflect.Value, set bool) interface{} {
	if !set {
		return nil
	}
	text, err := json.Marshal(value.Interface())
	Must(err)
	var result interface{}
	Must(json.Unmarshal(text, &result))
	return result
}
