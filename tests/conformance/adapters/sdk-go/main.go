// Adapter protocol 1, sdk profile, for the Go SDK; see SDK.md.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero"
)

type object = map[string]any

var kernel = "embedded" // build.py sets it to the digest of the file that is embedded
var plugins = map[string]*extism.Plugin{}
var loaded = map[string]object{}
var logs []object
var levels = map[string]extism.LogLevel{"trace": extism.LogLevelTrace, "debug": extism.LogLevelDebug, "info": extism.LogLevelInfo,
	"warn": extism.LogLevelWarn, "error": extism.LogLevelError, "off": extism.LogLevelOff}
var names = map[extism.LogLevel]string{}

func hello(object) object {
	return object{"protocol": 1, "adapter": "sdk-go", "runtime": "extism-go", "version": "1.7.1", "capabilities": []string{"cancel", "logs", "http-headers", "together"}, "kernel": kernel}
}

func create(r object) (*extism.Plugin, error) {
	var manifest extism.Manifest
	text, _ := json.Marshal(r["manifest"])
	err := json.Unmarshal(text, &manifest)
	for _, each := range r["modules"].([]any) {
		data, _ := hex.DecodeString(each.(object)["bytes"].(string))
		manifest.Wasm = append(manifest.Wasm, extism.WasmData{Data: data, Name: each.(object)["name"].(string)})
	}
	extism.SetLogLevel(levels[r["log_level"].(string)])
	config := extism.PluginConfig{EnableWasi: true, EnableHttpResponseHeaders: r["http_response_headers"].(bool),
		RuntimeConfig: wazero.NewRuntimeConfig().WithCloseOnContextDone(true)}
	if err != nil {
		return nil, err
	}
	return extism.NewPlugin(context.Background(), manifest, config, nil)
}

func load(r object) object {
	plugin, err := create(r)
	if err != nil {
		return object{"result": "reject", "message": err.Error()}
	}
	plugins[r["plugin"].(string)], loaded[r["plugin"].(string)] = plugin, r
	plugin.SetLogger(func(level extism.LogLevel, message string) {
		logs = append(logs, object{"level": names[level], "message": message})
	})
	return object{}
}

func invoke(r object) object {
	logs = []object{}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if after, ok := r["cancel_after_ms"].(float64); ok {
		time.AfterFunc(time.Duration(after)*time.Millisecond, cancel)
	}
	answer := call(ctx, r)
	answer["logs"] = logs
	return answer
}

func call(ctx context.Context, r object) object {
	input, _ := hex.DecodeString(r["input"].(string))
	status, output, err := plugins[r["plugin"].(string)].CallWithContext(ctx, r["function"].(string), input)
	if err == nil && status != 0 {
		err = fmt.Errorf("exit code %d", status)
	}
	if err != nil {
		return object{"result": "fail", "message": err.Error()}
	}
	return object{"result": "ok", "output": hex.EncodeToString(output)}
}

func repeat(r object) []object {
	outcomes, places := []object{}, map[string]int{}
	for n := 0; n < int(r["times"].(float64)); n++ {
		outcome := call(context.Background(), r)
		key := fmt.Sprint(outcome)
		if _, ok := places[key]; !ok {
			places[key] = len(outcomes)
			outcome["times"] = 0
			outcomes = append(outcomes, outcome)
		}
		outcomes[places[key]]["times"] = outcomes[places[key]]["times"].(int) + 1
	}
	return outcomes
}

func together(r object) object {
	calls := r["calls"].([]any)
	answers, group := make([][]object, len(calls)), sync.WaitGroup{}
	for i := range calls {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			answers[i] = repeat(calls[i].(object))
		}(i)
	}
	group.Wait()
	return object{"answers": answers}
}

func cpu() int64 {
	var used syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return (used.Utime.Nano() + used.Stime.Nano()) / 1000
}

func measure(r object) object {
	name, _ := r["function"].(string)
	length, _ := r["length"].(float64)
	input, plugin, before := bytes.Repeat([]byte("a"), int(length)), plugins[r["plugin"].(string)], cpu()
	for n := 0; n < int(r["times"].(float64)); n++ {
		var err error
		if name == "" {
			if plugin, err = create(loaded[r["plugin"].(string)]); err == nil {
				plugin.Close(context.Background())
			}
		} else {
			_, _, err = plugin.Call(name, input)
		}
		if err != nil {
			return object{"result": "fail", "message": err.Error()}
		}
	}
	return object{"cpu_us": cpu() - before}
}

func unload(r object) object {
	plugins[r["plugin"].(string)].Close(context.Background())
	delete(plugins, r["plugin"].(string))
	return object{}
}

func main() {
	for name, level := range levels {
		names[level] = name
	}
	operations := map[string]func(object) object{"hello": hello, "load": load, "invoke": invoke, "together": together, "unload": unload, "time": measure}
	lines, out := bufio.NewReaderSize(os.Stdin, 1<<23), json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var request object
		json.Unmarshal(line, &request)
		answer := object{"result": "unsupported"}
		if operation := operations[request["op"].(string)]; operation != nil {
			answer = operation(request)
		}
		answer["id"] = request["id"]
		if answer["result"] == nil {
			answer["result"] = "ok"
		}
		out.Encode(answer)
	}
}
