// The function starlark of the catalog of KRM functions, for TKO: a module in WebAssembly.
//
//	GOOS=wasip1 GOARCH=wasm go build -o starlark.wasm .
//
// The script is the field source of a StarlarkRun, or data.source of a ConfigMap. It reads and
// changes ctx.resource_list. There is no ctx.environment, no ctx.open_api and no load: a function in
// WebAssembly has no environment, no files and no network.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"

	"go.starlark.net/starlark"
	"go.starlark.net/starlarkstruct"
	"go.starlark.net/syntax"
	"gopkg.in/yaml.v3"
)

// Maximum number of steps of a script, and of lists and maps within one another.
const (
	maxSteps = 100_000_000
	maxDepth = 100
)

// The additions to the language that the function of the catalog has.
var dialect = syntax.FileOptions{
	Set:             true,
	While:           true,
	TopLevelControl: true,
	GlobalReassign:  true,
	Recursion:       true,
}

// fromYAML makes a value of a YAML node, whose maps keep their order. JSON is YAML.
func fromYAML(node *yaml.Node, depth int) (starlark.Value, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("line %d: more than %d levels", node.Line, maxDepth)
	}
	switch node.Kind {
	case yaml.DocumentNode:
		return fromYAML(node.Content[0], depth)
	case yaml.MappingNode:
		dict := starlark.NewDict(len(node.Content) / 2)
		for at := 0; at+1 < len(node.Content); at += 2 {
			value, err := fromYAML(node.Content[at+1], depth+1)
			if err != nil {
				return nil, err
			}
			if err := dict.SetKey(starlark.String(node.Content[at].Value), value); err != nil {
				return nil, err
			}
		}
		return dict, nil
	case yaml.SequenceNode:
		var items []starlark.Value
		for _, item := range node.Content {
			value, err := fromYAML(item, depth+1)
			if err != nil {
				return nil, err
			}
			items = append(items, value)
		}
		return starlark.NewList(items), nil
	case yaml.ScalarNode:
		return fromScalar(node)
	default:
		return nil, fmt.Errorf("line %d: aliases are not supported", node.Line)
	}
}

func fromScalar(node *yaml.Node) (starlark.Value, error) {
	switch node.ShortTag() {
	case "!!null":
		return starlark.None, nil
	case "!!bool":
		var value bool
		err := node.Decode(&value)
		return starlark.Bool(value), err
	case "!!int":
		var value int64
		if err := node.Decode(&value); err == nil {
			return starlark.MakeInt64(value), nil
		}
		var large uint64
		err := node.Decode(&large)
		return starlark.MakeUint64(large), err
	case "!!float":
		var value float64
		err := node.Decode(&value)
		return starlark.Float(value), err
	default:
		return starlark.String(node.Value), nil
	}
}

// writeJSON writes a value in the order of its keys.
func writeJSON(out *bufio.Writer, value starlark.Value, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("the script made more than %d levels", maxDepth)
	}
	switch value := value.(type) {
	case starlark.NoneType:
		out.WriteString("null")
	case starlark.Bool:
		out.WriteString(strconv.FormatBool(bool(value)))
	case starlark.Int:
		out.WriteString(value.String())
	case starlark.Float:
		if math.IsNaN(float64(value)) || math.IsInf(float64(value), 0) {
			return fmt.Errorf("the script made the number %s, which JSON does not have", value)
		}
		// Unlike the JSON of Go, 1.0 stays a number with a fraction.
		out.WriteString(value.String())
	case starlark.String:
		return writeText(out, string(value))
	case *starlark.Dict:
		out.WriteByte('{')
		for at, item := range value.Items() {
			if at > 0 {
				out.WriteByte(',')
			}
			key, ok := item[0].(starlark.String)
			if !ok {
				return fmt.Errorf("the script made a map with the key %s, which is not a text", item[0])
			}
			if err := writeJSON(out, key, depth); err != nil {
				return err
			}
			out.WriteByte(':')
			if err := writeJSON(out, item[1], depth+1); err != nil {
				return err
			}
		}
		out.WriteByte('}')
	case starlark.Iterable:
		out.WriteByte('[')
		items := value.Iterate()
		defer items.Done()
		var item starlark.Value
		for at := 0; items.Next(&item); at++ {
			if at > 0 {
				out.WriteByte(',')
			}
			if err := writeJSON(out, item, depth+1); err != nil {
				return err
			}
		}
		out.WriteByte(']')
	default:
		return fmt.Errorf("the script made a value of type %s, which YAML does not have", value.Type())
	}
	return nil
}

func writeText(out *bufio.Writer, value string) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = out.Write(text)
	return err
}

// find reads a field of nested maps.
func find(value starlark.Value, path ...string) starlark.Value {
	for _, key := range path {
		dict, ok := value.(*starlark.Dict)
		if !ok {
			return nil
		}
		value, ok, _ = dict.Get(starlark.String(key))
		if !ok {
			return nil
		}
	}
	return value
}

func text(value starlark.Value, path ...string) string {
	found, _ := find(value, path...).(starlark.String)
	return string(found)
}

// source finds the script in the configuration.
func source(list starlark.Value) (name, script string, err error) {
	config := find(list, "functionConfig")
	switch kind := text(config, "kind"); kind {
	case "StarlarkRun":
		script = text(config, "source")
	case "ConfigMap":
		script = text(config, "data", "source")
	default:
		return "", "", fmt.Errorf("the configuration is of kind %q; expected StarlarkRun or ConfigMap", kind)
	}
	if script == "" {
		return "", "", fmt.Errorf("the configuration has no script; expected the field source")
	}
	return text(config, "metadata", "name"), script, nil
}

// transform runs the script.
func transform(list starlark.Value) error {
	name, script, err := source(list)
	if err != nil {
		return err
	}
	thread := &starlark.Thread{
		Name:  name,
		Print: func(_ *starlark.Thread, line string) { fmt.Fprintln(os.Stderr, line) },
	}
	thread.SetMaxExecutionSteps(maxSteps)
	ctx := starlarkstruct.FromStringDict(starlark.String("ctx"), starlark.StringDict{"resource_list": list})
	_, err = starlark.ExecFileOptions(&dialect, thread, name, script, starlark.StringDict{"ctx": ctx})
	if failure, ok := err.(*starlark.EvalError); ok {
		return fmt.Errorf("%s", failure.Backtrace())
	}
	return err
}

func run() error {
	content, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(content, &document); err != nil {
		return err
	}
	if document.Kind != yaml.DocumentNode {
		return fmt.Errorf("the input is empty; expected a ResourceList")
	}
	list, err := fromYAML(&document, 0)
	if err != nil {
		return err
	}
	failure := transform(list)
	if failure != nil {
		result := starlark.NewDict(2)
		result.SetKey(starlark.String("severity"), starlark.String("error"))
		result.SetKey(starlark.String("message"), starlark.String(failure.Error()))
		if dict, ok := list.(*starlark.Dict); ok {
			dict.SetKey(starlark.String("results"), starlark.NewList([]starlark.Value{result}))
		}
	}
	out := bufio.NewWriter(os.Stdout)
	if err := writeJSON(out, list, 0); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return failure
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
