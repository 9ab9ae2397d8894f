// Command adapter answers adapter protocol 1 with wazero, by its compiler or its interpreter.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

const library = "github.com/tetratelabs/wazero"

type object = map[string]any

type request struct {
	ID                                                 json.RawMessage
	Op, Instance, Module, Digest, Name, Address, Bytes string
	Args                                               []string
	Length, Pages                                      uint64
	Operations                                         []request
}

// Each instance has a runtime of its own, so that dropping it frees its code and its memory.
type instance struct {
	runtime wazero.Runtime
	module  api.Module
}

var (
	ctx       = context.Background()
	adapter   = "wazero-compiler"
	config    = wazero.NewRuntimeConfigCompiler()
	instances = map[string]instance{}
	modules   = map[string][]byte{} // by digest
	results   []object              // of the batch at hand
	// Compiles each module once, though every instance has a runtime of its own.
	cache = wazero.NewCompilationCache()
	// The errors behind these texts are internal to wazero; the last one is every other trap.
	trapKinds = [][2]string{
		{"unreachable", "unreachable"}, {"out of bounds memory access", "out-of-bounds"},
		{"integer", "integer"}, {"invalid conversion to integer", "integer"},
		{"stack overflow", "stack"}, {"", "other"},
	}
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "--interpreter" {
		adapter, config = "wazero-interpreter", wazero.NewRuntimeConfigInterpreter()
	}
	config = config.WithCompilationCache(cache)
	lines, answers := bufio.NewReaderSize(os.Stdin, 1<<20), json.NewEncoder(os.Stdout)
	for line, end := lines.ReadBytes('\n'); end == nil; line, end = lines.ReadBytes('\n') {
		var ask request
		var answer object
		if err := json.Unmarshal(line, &ask); err != nil {
			answer = object{"result": "error", "message": err.Error()}
		} else if ask.Op == "batch" {
			results = nil
			for i := range ask.Operations {
				results = append(results, perform(&ask.Operations[i]))
			}
			answer = object{"result": "ok", "answers": results}
		} else {
			answer = perform(&ask)
		}
		if ask.ID == nil {
			ask.ID = json.RawMessage("null")
		}
		answer["id"] = ask.ID
		if answers.Encode(answer) != nil {
			return
		}
	}
}

func perform(ask *request) object {
	answer, err := serve(ask)
	if err != nil {
		return object{"result": "error", "message": err.Error()}
	} else if answer["result"] == nil {
		answer["result"] = "ok"
	}
	return answer
}

func serve(ask *request) (object, error) {
	switch ask.Op {
	case "hello":
		return object{"protocol": 1, "adapter": adapter, "runtime": "wazero", "version": version(),
			"capabilities": []string{"externref", "grow", "resume-after-trap", "batch", "modules"}}, nil
	case "instantiate":
		return instantiate(ask)
	case "call", "read", "write", "size", "grow", "global_get", "drop":
	default:
		return object{"result": "unsupported"}, nil
	}
	held, known := instances[ask.Instance]
	if !known {
		return nil, fmt.Errorf("no instance `%s`", ask.Instance)
	}
	switch ask.Op {
	case "call":
		return call(held.module, ask)
	case "global_get":
		global := held.module.ExportedGlobal(ask.Name)
		if global == nil {
			return nil, fmt.Errorf("no exported global `%s`", ask.Name)
		}
		return object{"value": show(global.Type(), global.Get())}, nil
	case "drop":
		delete(instances, ask.Instance)
		return object{}, held.runtime.Close(ctx)
	}
	if memory := held.module.ExportedMemory("memory"); memory != nil {
		return access(memory, ask)
	}
	return nil, errors.New("no exported memory `memory`")
}

func instantiate(ask *request) (object, error) {
	binary, known := modules[ask.Digest]
	if ask.Module != "" || !known {
		var err error
		if binary, err = hex.DecodeString(ask.Module); err != nil {
			return nil, err
		}
		if ask.Digest != "" {
			modules[ask.Digest] = binary
		}
	}
	runtime := wazero.NewRuntimeWithConfig(ctx, config)
	stage := "compile"
	compiled, err := runtime.CompileModule(ctx, binary)
	if err == nil {
		stage = "link"
		var module api.Module
		module, err = runtime.InstantiateModule(ctx, compiled, wazero.NewModuleConfig().WithName("").WithStartFunctions())
		if err == nil {
			if old, known := instances[ask.Instance]; known {
				_ = old.runtime.Close(ctx)
			}
			instances[ask.Instance] = instance{runtime, module}
			return object{}, nil
		}
		if strings.Contains(err.Error(), "wasm error: ") {
			stage = "start"
		}
	}
	_ = runtime.Close(ctx)
	return object{"result": "reject", "stage": stage, "message": err.Error()}, nil
}

func call(module api.Module, ask *request) (object, error) {
	function := module.ExportedFunction(ask.Name)
	if function == nil {
		return nil, fmt.Errorf("no exported function `%s`", ask.Name)
	}
	parameters := function.Definition().ParamTypes()
	if len(parameters) != len(ask.Args) {
		return nil, fmt.Errorf("`%s` takes %d arguments, not %d", ask.Name, len(parameters), len(ask.Args))
	}
	arguments := make([]uint64, len(parameters))
	for i, parameter := range parameters {
		var err error
		if arguments[i], err = parse(parameter, ask.Args[i]); err != nil {
			return nil, err
		}
	}
	results, err := function.Call(ctx, arguments...)
	if err != nil {
		message := strings.TrimPrefix(err.Error(), "wasm error: ")
		for _, kind := range trapKinds {
			if strings.HasPrefix(message, kind[0]) {
				return object{"result": "trap", "kind": kind[1], "message": message}, nil
			}
		}
	}
	values := make([]string, len(results))
	for i, kind := range function.Definition().ResultTypes() {
		values[i] = show(kind, results[i])
	}
	return object{"values": values}, nil
}

func access(memory api.Memory, ask *request) (object, error) {
	// Size counts bytes in 32 bits, so that 65,536 pages would read as 0.
	pages, _ := memory.Grow(0)
	switch ask.Op {
	case "size":
		return object{"pages": pages}, nil
	case "grow":
		if ask.Pages > 65536 {
			return object{"pages": -1}, nil
		} else if old, done := memory.Grow(uint32(ask.Pages)); done {
			return object{"pages": old}, nil
		}
		return object{"pages": -1}, nil
	}
	address, err := number(ask.Address, 64)
	if err != nil {
		return nil, err
	}
	bytes, err := hex.DecodeString(ask.Bytes)
	if err != nil {
		return nil, err
	}
	length, end := uint64(len(bytes)), uint64(pages)<<16
	if ask.Op == "read" {
		length = ask.Length
	}
	if address > end || length > end-address {
		return object{"result": "trap", "kind": "out-of-bounds", "message": "address past the memory"}, nil
	}
	if length == 0 { // at the very end of 4 GiB the address does not fit wazero's 32 bits
		return object{"bytes": ""}, nil
	}
	if ask.Op == "read" {
		view, _ := memory.Read(uint32(address), uint32(length))
		return object{"bytes": hex.EncodeToString(view)}, nil
	}
	memory.Write(uint32(address), bytes)
	return object{}, nil
}

// number reads a number, or one that refers to an earlier answer in the batch: @3*65536+8.
func number(text string, bits int) (uint64, error) {
	reference, refers := strings.CutPrefix(text, "@")
	if !refers {
		return strconv.ParseUint(text, 10, bits)
	}
	product, offset, _ := strings.Cut(reference, "+")
	place, factor, _ := strings.Cut(product, "*")
	at, err := strconv.Atoi(place)
	if err != nil || at >= len(results) {
		return 0, fmt.Errorf("`%s` refers to nothing", text)
	}
	var value uint64
	switch found := results[at]; {
	case found["pages"] != nil:
		value, err = strconv.ParseUint(fmt.Sprint(found["pages"]), 10, 64)
	default:
		values, _ := found["values"].([]string)
		if len(values) == 0 {
			return 0, fmt.Errorf("`%s` has no value", text)
		}
		_, digits, _ := strings.Cut(values[0], ":")
		value, err = strconv.ParseUint(digits, 10, 64)
	}
	for i, part := range []string{factor, offset} {
		if part == "" || err != nil {
			continue
		}
		var by uint64
		if by, err = strconv.ParseUint(part, 10, 64); i == 0 {
			value *= by
		} else {
			value += by
		}
	}
	return value & (1<<(bits-1)<<1 - 1), err
}

func parse(kind api.ValueType, text string) (uint64, error) {
	name, digits, _ := strings.Cut(text, ":")
	if name != api.ValueTypeName(kind) {
		return 0, fmt.Errorf("`%s` is not of type %s", text, api.ValueTypeName(kind))
	}
	switch kind {
	case api.ValueTypeI32:
		return number(digits, 32)
	case api.ValueTypeI64:
		return number(digits, 64)
	case api.ValueTypeF32:
		return strconv.ParseUint(digits, 16, 32)
	case api.ValueTypeF64:
		return strconv.ParseUint(digits, 16, 64)
	}
	return 0, nil // externref:null
}

func show(kind api.ValueType, bits uint64) string {
	switch kind {
	case api.ValueTypeI32:
		return fmt.Sprintf("i32:%d", uint32(bits))
	case api.ValueTypeI64:
		return fmt.Sprintf("i64:%d", bits)
	case api.ValueTypeF32:
		return fmt.Sprintf("f32:%08x", uint32(bits))
	case api.ValueTypeF64:
		return fmt.Sprintf("f64:%016x", bits)
	}
	if bits == 0 {
		return api.ValueTypeName(kind) + ":null"
	}
	return api.ValueTypeName(kind) + ":set"
}

func version() string {
	if info, known := debug.ReadBuildInfo(); known {
		for _, module := range info.Deps {
			if module.Path == library {
				return strings.TrimPrefix(module.Version, "v")
			}
		}
	}
	return "unknown"
}
