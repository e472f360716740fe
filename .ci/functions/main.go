// Runs functions of the catalog by TKO and by kustomize, whose transformers the catalog's own
// functions call, and compares what they make of the same resources.
//
//	functions TKO CASES.yaml
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// A case: resources, a function with its configuration, and the kustomization that does the same.
type testCase struct {
	Name          string           `json:"name"`
	Function      string           `json:"function"`
	Config        map[string]any   `json:"config"`
	Kustomization map[string]any   `json:"kustomization"`
	Resources     []map[string]any `json:"resources"`
}

// byTKO returns the items that `tko fn` makes.
func byTKO(program string, test testCase) ([]any, error) {
	list, err := json.Marshal(map[string]any{
		"apiVersion":     "config.kubernetes.io/v1",
		"kind":           "ResourceList",
		"items":          test.Resources,
		"functionConfig": test.Config,
	})
	if err != nil {
		return nil, err
	}
	command := exec.Command(program, "fn", test.Function)
	command.Stdin = bytes.NewReader(list)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.String())
	}
	var made struct {
		Items []any `json:"items"`
	}
	if err := yaml.Unmarshal(output, &made); err != nil {
		return nil, err
	}
	return made.Items, nil
}

// byKustomize returns the resources that kustomize makes.
func byKustomize(test testCase) ([]any, error) {
	files := filesys.MakeFsInMemory()
	kustomization := test.Kustomization
	var names []string
	for at, resource := range test.Resources {
		name := fmt.Sprintf("%03d.yaml", at)
		names = append(names, name)
		text, err := yaml.Marshal(resource)
		if err != nil {
			return nil, err
		}
		if err := files.WriteFile("/"+name, text); err != nil {
			return nil, err
		}
	}
	kustomization["resources"] = names
	text, err := yaml.Marshal(kustomization)
	if err != nil {
		return nil, err
	}
	if err := files.WriteFile("/kustomization.yaml", text); err != nil {
		return nil, err
	}
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(files, "/")
	if err != nil {
		return nil, err
	}
	var items []any
	for _, resource := range made.Resources() {
		var item any
		text, err := resource.AsYAML()
		if err != nil {
			return nil, err
		}
		if err := yaml.Unmarshal(text, &item); err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	return items, nil
}

// text returns items in a form that does not depend on the order of keys.
func text(items []any) string {
	var all strings.Builder
	for _, item := range items {
		line, err := yaml.Marshal(item)
		if err != nil {
			return err.Error()
		}
		all.WriteString("---\n" + string(line))
	}
	return all.String()
}

func run() error {
	if len(os.Args) != 3 {
		return fmt.Errorf("usage: functions TKO CASES.yaml")
	}
	content, err := os.ReadFile(os.Args[2])
	if err != nil {
		return err
	}
	var cases []testCase
	if err := yaml.UnmarshalStrict(content, &cases); err != nil {
		return err
	}
	different := 0
	for _, test := range cases {
		ours, err := byTKO(os.Args[1], test)
		if err != nil {
			return fmt.Errorf("%s: tko: %w", test.Name, err)
		}
		theirs, err := byKustomize(test)
		if err != nil {
			return fmt.Errorf("%s: kustomize: %w", test.Name, err)
		}
		if text(ours) == text(theirs) {
			fmt.Printf("equal      %s (%s)\n", test.Name, test.Function)
			continue
		}
		different++
		fmt.Printf("different  %s (%s)\ntko:\n%skustomize:\n%s", test.Name, test.Function, text(ours), text(theirs))
	}
	if different > 0 {
		return fmt.Errorf("%d of %d cases are different", different, len(cases))
	}
	fmt.Printf("%d cases are equal\n", len(cases))
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
