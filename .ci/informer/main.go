// An informer of client-go over TKO's deployments, which prints its store on demand.
//
//	informer http://127.0.0.1:PORT [pages] [metadata]
//
// For each line of its input it prints one line of JSON: the resource version of each object by
// name, and what it has seen. .ci/kubernetes-client.py compares that with the data.
//
// It has the watch begin with the objects, as client-go does; with `pages` it lists them in pages.
// With `metadata` it asks for the metadata of the objects only. With
// KUBE_WATCHLIST_INCONSISTENCY_DETECTOR=true client-go itself compares what it streamed with a list
// of the same resource version, and panics if they differ. That list never succeeds once the version
// has expired, and client-go asks for it for ever: then the informer starts over.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

var deployments = schema.GroupVersionResource{
	Group: "tko.nephio.org", Version: "v1alpha1", Resource: "deployments",
}

// What one life of the informer has seen, and the counts of all of them.
type seen struct {
	sync.Mutex
	informer cache.SharedIndexInformer
	events   int
	lists    int
	compared int
	restarts int
	wrong    []string
	versions map[string]uint64
}

func identity(object any) (string, uint64) {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	one, err := meta.Accessor(object)
	if err != nil {
		panic(err)
	}
	version, err := strconv.ParseUint(one.GetResourceVersion(), 10, 64)
	if err != nil {
		panic(err)
	}
	return one.GetName(), version
}

// A handler of the events of one life.
func (s *seen) handler(life int) cache.ResourceEventHandlerFuncs {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { s.note(life, "add", object) },
		UpdateFunc: func(_, object any) { s.note(life, "update", object) },
		DeleteFunc: func(object any) { s.note(life, "delete", object) },
	}
}

func (s *seen) note(life int, what string, object any) {
	s.Lock()
	defer s.Unlock()
	if life != s.restarts {
		return
	}
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

// Counts a list; says whether the comparison with a list can never succeed.
func (s *seen) listed(options metav1.ListOptions, err error) bool {
	isComparison := options.ResourceVersionMatch == metav1.ResourceVersionMatchExact
	if err == nil {
		s.Lock()
		defer s.Unlock()
		if isComparison {
			s.compared++
		} else {
			s.lists++
		}
	}
	return isComparison && apierrors.IsResourceExpired(err)
}

// The calls of a client: a list and a watch.
type calls struct {
	list  func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch func(context.Context, metav1.ListOptions) (watch.Interface, error)
	kind  runtime.Object
}

func callsOf(config *rest.Config, onlyMetadata bool) calls {
	if onlyMetadata {
		client := metadata.NewForConfigOrDie(config).Resource(deployments)
		list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return client.List(ctx, options)
		}
		return calls{list, client.Watch, &metav1.PartialObjectMetadata{}}
	}
	client := dynamic.NewForConfigOrDie(config).Resource(deployments)
	list := func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return client.List(ctx, options)
	}
	return calls{list, client.Watch, &unstructured.Unstructured{}}
}

// Runs informers, one after the other.
func (s *seen) run(calls calls) {
	for life := 0; ; life++ {
		ctx, cancel := context.WithCancel(context.Background())
		source := &cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
				list, err := calls.list(ctx, options)
				if s.listed(options, err) {
					cancel()
				}
				return list, err
			},
			WatchFuncWithContext: calls.watch,
		}
		informer := cache.NewSharedIndexInformer(source, calls.kind, 0, cache.Indexers{})
		if _, err := informer.AddEventHandler(s.handler(life)); err != nil {
			panic(err)
		}
		s.Lock()
		s.informer, s.restarts, s.versions = informer, life, map[string]uint64{}
		s.Unlock()
		informer.RunWithContext(ctx)
		cancel()
	}
}

func (s *seen) said() ([]byte, error) {
	s.Lock()
	defer s.Unlock()
	store := map[string]string{}
	if s.informer != nil {
		for _, object := range s.informer.GetStore().List() {
			name, version := identity(object)
			store[name] = strconv.FormatUint(version, 10)
		}
	}
	return json.Marshal(map[string]any{
		"store": store, "events": s.events, "lists": s.lists, "compared": s.compared,
		"restarts": s.restarts, "wrong": append([]string{}, s.wrong...),
	})
}

func main() {
	arguments := os.Args[2:]
	if slices.Contains(arguments, "pages") {
		os.Setenv("KUBE_FEATURE_WatchListClient", "false")
	}
	config := &rest.Config{Host: os.Args[1], QPS: 100, Burst: 100}
	all := &seen{}
	go all.run(callsOf(config, slices.Contains(arguments, "metadata")))
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		said, err := all.said()
		if err != nil {
			panic(err)
		}
		fmt.Println(string(said))
	}
}
