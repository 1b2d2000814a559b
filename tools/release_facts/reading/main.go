// Reads flags, feature gates and admission plugins out of sources of Kubernetes, without building them.
//
//	go run main.go FOLDER|FILE...
//
// It sees what is written down: names and gates that are put together while a program runs are not all found. It is for
// releases on which no experiment was made; `source: reading` marks their facts.
package main

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

type flag struct {
	Type       string `json:"type"`
	Deprecated string `json:"deprecated,omitempty"`
}

type spec struct {
	version string
	row     map[string]interface{}
}

var (
	flags      = map[string]*flag{}
	deprecated = map[string]string{}
	constants  = map[string]string{} // by name, and by folder and name
	folder     string                // of the file that is looked at
	gates      = map[string][]spec{}
	ordered    = map[string]string{} // plugins by the expression that names them
	on         = map[string]bool{}   // expressions
	behind     = map[string]string{} // expressions, with the feature gate that decides
	comments   = map[*ast.File]map[int]string{}
	// Methods that register a flag, as StringVar and BoolVarP of pflag; those without an ending, of Go's own package.
	registers = regexp.MustCompile(`^(String|Bool|Int|Int32|Int64|Uint|Uint32|Uint64|Float32|Float64|Duration|IP|IPNet|` +
		`StringSlice|StringArray|StringToString|Int32Slice|IntSlice|IPSlice)?(Var|VarP|P|)$`)
)

func main() {
	files := token.NewFileSet()
	parsed := []*ast.File{}
	folders := map[*ast.File]string{}
	for _, folder := range os.Args[1:] {
		paths := []string{folder}
		if !strings.HasSuffix(folder, ".go") {
			paths, _ = filepath.Glob(filepath.Join(folder, "*.go"))
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "_windows.go") {
				continue
			}
			file, err := parser.ParseFile(files, path, nil, parser.ParseComments)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			parsed = append(parsed, file)
			folders[file] = filepath.Dir(path)
			lines := map[int]string{}
			for _, group := range file.Comments {
				for _, comment := range group.List {
					lines[files.Position(comment.Pos()).Line] = strings.TrimSpace(strings.TrimPrefix(comment.Text, "//"))
				}
			}
			comments[file] = lines
		}
	}
	for _, file := range parsed {
		folder = folders[file]
		ast.Inspect(file, constant)
	}
	for _, file := range parsed {
		folder = folders[file]
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.CallExpr:
				call(node)
			case *ast.FuncDecl:
				if node.Name.Name == "DefaultOffAdmissionPlugins" {
					ast.Inspect(node, pluginsOn)
				}
			case *ast.KeyValueExpr:
				gate(node)
			case *ast.ValueSpec:
				if len(node.Names) == 1 && node.Names[0].Name == "AllOrderedPlugins" {
					for _, element := range node.Values[0].(*ast.CompositeLit).Elts {
						comment := comments[file][files.Position(element.Pos()).Line]
						words := strings.FieldsFunc(comment, func(r rune) bool { return r == ',' || r == ' ' })
						ordered[expression(element)] = words[0]
					}
				}
			}
			return true
		})
	}
	for name, text := range deprecated {
		if flags[name] != nil {
			flags[name].Deprecated = text
		}
	}
	result := map[string]interface{}{"flags": flags, "gates": newest(), "plugins": known()}
	text, _ := json.MarshalIndent(result, "", " ")
	fmt.Println(string(text))
}

func constant(node ast.Node) bool {
	if values, ok := node.(*ast.ValueSpec); ok {
		for i, value := range values.Values {
			if text, ok := literal(value); ok && i < len(values.Names) {
				constants[values.Names[i].Name] = text
				constants[folder+" "+values.Names[i].Name] = text
			}
		}
	}
	return true
}

func literal(node ast.Expr) (string, bool) {
	switch node := node.(type) {
	case *ast.BasicLit:
		if node.Kind == token.STRING {
			text, err := strconv.Unquote(node.Value)
			return text, err == nil
		}
	case *ast.BinaryExpr:
		left, first := literal(node.X)
		right, second := literal(node.Y)
		return left + right, first && second
	case *ast.Ident:
		if text, ok := constants[folder+" "+node.Name]; ok {
			return text, true
		}
		text, ok := constants[node.Name]
		return text, ok
	case *ast.CallExpr:
		if name(node.Fun) == "Sprintf" && len(node.Args) > 1 {
			if text, ok := literal(node.Args[0]); ok && strings.HasPrefix(text, "audit-%s") {
				return text, true
			}
		}
	}
	return "", false
}

func name(node ast.Expr) string {
	switch node := node.(type) {
	case *ast.Ident:
		return node.Name
	case *ast.SelectorExpr:
		return node.Sel.Name
	}
	return ""
}

func packageOf(node ast.Expr) string {
	if selector, ok := node.(*ast.SelectorExpr); ok {
		return name(selector.X)
	}
	return ""
}

func call(node *ast.CallExpr) {
	method := name(node.Fun)
	if method == "MarkDeprecated" && len(node.Args) == 2 {
		if flag, ok := literal(node.Args[0]); ok {
			text, _ := literal(node.Args[1])
			deprecated["--"+flag] = text
		}
		return
	}
	// globalflag.Register(fs, "name") takes over a flag that a package has registered by itself.
	if method == "Register" && len(node.Args) == 2 && packageOf(node.Fun) == "globalflag" {
		if flagName, ok := literal(node.Args[1]); ok && flags["--"+flagName] == nil {
			flags["--"+flagName] = &flag{Type: "stringSlice"}
		}
		return
	}
	found := registers.FindStringSubmatch(method)
	if found == nil || (found[2] == "" && packageOf(node.Fun) != "flag") {
		return
	}
	position := 1
	if found[2] == "P" || found[2] == "" {
		position = 0
	}
	if len(node.Args) <= position {
		return
	}
	text, ok := literal(node.Args[position])
	if !ok || text == "" || strings.ContainsAny(text, " /=") {
		return
	}
	kind := strings.ToLower(found[1][:min(1, len(found[1]))]) + found[1][min(1, len(found[1])):]
	for _, plugin := range []string{"log", "webhook"} {
		flags["--"+strings.Replace(strings.Replace(text, "%s", plugin, -1), "_", "-", -1)] = &flag{Type: kind}
	}
}

// gate reads `Name: {Default: …}` and `Name: {{Version: …, Default: …}, …}`.
func gate(node *ast.KeyValueExpr) {
	value, ok := node.Value.(*ast.CompositeLit)
	if !ok {
		return
	}
	feature, known := constants[name(node.Key)]
	if !known {
		return
	}
	if row := specOf(value); row != nil {
		gates[feature] = append(gates[feature], spec{"0.0", row})
		return
	}
	for _, element := range value.Elts {
		if inner, ok := element.(*ast.CompositeLit); ok {
			if row := specOf(inner); row != nil {
				gates[feature] = append(gates[feature], spec{versionOf(inner), row})
			}
		}
	}
}

func specOf(node *ast.CompositeLit) map[string]interface{} {
	row := map[string]interface{}{}
	for _, element := range node.Elts {
		pair, ok := element.(*ast.KeyValueExpr)
		if !ok {
			return nil
		}
		switch name(pair.Key) {
		case "Default":
			row["default"] = name(pair.Value) == "true"
		case "PreRelease":
			if stage := strings.ToUpper(name(pair.Value)); stage != "GA" && stage != "" {
				row["stage"] = stage
			}
		case "LockToDefault":
			if name(pair.Value) == "true" {
				row["locked"] = true
			}
		}
	}
	if _, ok := row["default"]; !ok {
		return nil
	}
	return row
}

func versionOf(node *ast.CompositeLit) string {
	for _, element := range node.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); ok && name(pair.Key) == "Version" {
			if call, ok := pair.Value.(*ast.CallExpr); ok && len(call.Args) == 1 {
				text, _ := literal(call.Args[0])
				return text
			}
		}
	}
	return "0.0"
}

// newest is the last of a gate's specs: what holds in the release that is read.
func newest() map[string]interface{} {
	found := map[string]interface{}{}
	for name, specs := range gates {
		found[name] = specs[len(specs)-1].row
	}
	return found
}

func expression(node ast.Expr) string {
	if selector, ok := node.(*ast.SelectorExpr); ok {
		return name(selector.X) + "." + selector.Sel.Name
	}
	return ""
}

// pluginsOn reads a set of plugins, and `if utilfeature.DefaultFeatureGate.Enabled(features.Name) { set.Insert(…) }`.
func pluginsOn(node ast.Node) bool {
	switch node := node.(type) {
	case *ast.CallExpr:
		if what := name(node.Fun); what == "New" || what == "NewString" || what == "Insert" {
			for _, argument := range node.Args {
				on[expression(argument)] = true
			}
		}
	case *ast.IfStmt:
		condition, ok := node.Cond.(*ast.CallExpr)
		if !ok || name(condition.Fun) != "Enabled" || len(condition.Args) != 1 {
			return true
		}
		ast.Inspect(node.Body, func(inner ast.Node) bool {
			if call, ok := inner.(*ast.CallExpr); ok && name(call.Fun) == "Insert" {
				for _, argument := range call.Args {
					behind[expression(argument)] = constants[name(condition.Args[0])]
				}
			}
			return true
		})
	}
	return true
}

func known() map[string]bool {
	found := map[string]bool{}
	for where, plugin := range ordered {
		found[plugin] = on[where]
		if specs := gates[behind[where]]; specs != nil {
			found[plugin] = specs[len(specs)-1].row["default"] == true
		}
	}
	return found
}
