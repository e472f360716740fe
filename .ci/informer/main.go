// An informer of client-go over TKO's deployments, which prints its store on demand.
//
//	informer http://127.0.0.1:PORT
//
// For each line of its input it prints one line of JSON: the resource version of each object by
// name, and what it has seen. .ci/kubernetes-client.py compares that with the data. With
// KUBE_WATCHLIST_INCONSISTENCY_DETECTOR=true client-go itself compares what it streamed with a list,
// and panics if they differ.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

type seen struct {
	sync.Mutex
	events   int
	wrong    []string
	versions map[string]uint64
}

func identity(object any) (string, uint64) {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	one := object.(*unstructured.Unstructured)
	version, err := strconv.ParseUint(one.GetResourceVersion(), 10, 64)
	if err != nil {
		panic(err)
	}
	return one.GetName(), version
}

func (s *seen) note(what string, object any) {
	s.Lock()
	defer s.Unlock()
	s.events++
	name, version := identity(object)
	known, isKnown := s.versions[name]
	switch what {
	case "add":
		// An object that was deleted and created again while the informer was away is updated.
		if isKnown {
			s.wrong = append(s.wrong, name+" is added twice")
		}
		s.versions[name] = version
	case "update":
		if !isKnown || version < known {
			s.wrong = append(s.wrong, fmt.Sprintf("%s goes from %d to %d", name, known, version))
		}
		s.versions[name] = version
	case "delete":
		if !isKnown {
			s.wrong = append(s.wrong, name+" is deleted, and was never added")
		}
		delete(s.versions, name)
	}
}

func main() {
	client := dynamic.NewForConfigOrDie(&rest.Config{Host: os.Args[1], QPS: 100, Burst: 100})
	resource := schema.GroupVersionResource{
		Group: "tko.nephio.org", Version: "v1alpha1", Resource: "deployments",
	}
	informer := dynamicinformer.NewDynamicSharedInformerFactory(client, 0).ForResource(resource).Informer()
	all := &seen{versions: map[string]uint64{}}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { all.note("add", object) },
		UpdateFunc: func(_, object any) { all.note("update", object) },
		DeleteFunc: func(object any) { all.note("delete", object) },
	})
	if err != nil {
		panic(err)
	}
	go informer.Run(make(chan struct{}))
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		store := map[string]string{}
		for _, object := range informer.GetStore().List() {
			one := object.(*unstructured.Unstructured)
			store[one.GetName()] = one.GetResourceVersion()
		}
		all.Lock()
		said, err := json.Marshal(map[string]any{
			"store": store, "events": all.events, "wrong": append([]string{}, all.wrong...),
		})
		all.Unlock()
		if err != nil {
			panic(err)
		}
		fmt.Println(string(said))
	}
}
