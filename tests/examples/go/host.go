// Command host is a host for the kernel in one file, on wazero: what a port to another runtime has to do.
//
//	go run . KERNEL PLUGIN FUNCTION < INPUTS
//
// Each line of standard input is the input of one call; an empty line is an empty input. Answers go to
// standard output, one a line, errors to standard error. The exit code is 0 if every call answered,
// 1 if one failed, 2 for a wrong command line or a module that cannot be loaded.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// A host is one kernel and one plug-in, linked.
type host struct {
	ctx    context.Context
	kernel api.Module
	entry  api.Function
}

func main() {
	os.Exit(run())
}

func run() int {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: go run . KERNEL PLUGIN FUNCTION < INPUTS")
		return 2
	}
	ctx := context.Background()
	runtime := wazero.NewRuntime(ctx)
	defer runtime.Close(ctx)
	made, err := load(ctx, runtime, os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		return 2
	}
	code := 0
	inputs := bufio.NewReader(os.Stdin)
	for {
		line, end := inputs.ReadBytes('\n')
		if end != nil && end != io.EOF {
			fmt.Fprintln(os.Stderr, "error:", end)
			return 2
		}
		if end == io.EOF && len(line) == 0 {
			return code
		}
		answer, err := made.call(bytes.TrimSuffix(line, []byte("\n")))
		if err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			code = 1
		} else if _, err := os.Stdout.Write(append(answer, '\n')); err != nil {
			fmt.Fprintln(os.Stderr, "error:", err)
			return 2
		}
	}
}

// load links the kernel and the plug-in: wazero links imports to the module of that name. A guest that imports the
// kernel's memory, too, gets it; so what the kernel says is checked below, as always.
func load(ctx context.Context, runtime wazero.Runtime, kernel, plugin, function string) (*host, error) {
	instantiate := func(path, name string) (api.Module, error) {
		binary, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		return runtime.InstantiateWithConfig(ctx, binary, wazero.NewModuleConfig().WithName(name).WithStartFunctions())
	}
	made, err := instantiate(kernel, "extism:host/env")
	if err != nil {
		return nil, err
	}
	guest, err := instantiate(plugin, "plugin")
	if err != nil {
		return nil, err
	}
	entry := guest.ExportedFunction(function)
	if entry == nil || len(entry.Definition().ParamTypes()) > 0 {
		return nil, fmt.Errorf("no export `%s` of type () -> i32", function)
	}
	return &host{ctx: ctx, kernel: made, entry: entry}, nil
}

// ask calls an export of the kernel and returns its result, or 0 if it has none.
func (h *host) ask(name string, numbers ...uint64) (uint64, error) {
	function := h.kernel.ExportedFunction(name)
	if function == nil {
		return 0, fmt.Errorf("the kernel exports no function `%s`", name)
	}
	results, err := function.Call(h.ctx, numbers...)
	if err != nil || len(results) == 0 {
		return 0, err
	}
	return results[0], nil
}

// view returns the bytes of a range of the kernel's memory, which stay the kernel's. wazero addresses memory with
// 32 bits and the kernel answers with 64, so the range is checked first; and whoever wrote the kernel may be wrong.
func (h *host) view(address, length uint64) ([]byte, error) {
	memory := h.kernel.Memory()
	size := uint64(memory.Size())
	if address > size || length > size-address {
		return nil, fmt.Errorf("the kernel describes %d bytes at %d, its memory has %d", length, address, size)
	}
	data, ok := memory.Read(uint32(address), uint32(length))
	if !ok {
		return nil, errors.New("the kernel's memory cannot be read")
	}
	return data, nil
}

// put copies bytes into a new block and returns its handle.
func (h *host) put(data []byte) (uint64, error) {
	handle, err := h.ask("alloc", uint64(len(data)))
	if err != nil {
		return 0, err
	}
	if handle == 0 { // address 0 is not ours: nothing may be written there
		return 0, errors.New("out of memory")
	}
	block, err := h.view(handle, uint64(len(data)))
	if err != nil {
		return 0, err
	}
	copy(block, data)
	return handle, nil
}

// open makes the kernel ready for one call of the guest.
func (h *host) open(data []byte) error {
	// `error_set` comes first, also on an instance that was never reset.
	if _, err := h.ask("error_set", 0); err != nil {
		return err
	}
	if _, err := h.ask("reset"); err != nil { // ends all blocks of the call before
		return err
	}
	handle := uint64(0)
	if len(data) > 0 {
		var err error
		if handle, err = h.put(data); err != nil {
			return err
		}
	}
	_, err := h.ask("input_set", handle, uint64(len(data))) // (0, 0) clears the input
	return err
}

// call calls the plug-in's function. After an error the next call works all the same.
func (h *host) call(data []byte) ([]byte, error) {
	if err := h.open(data); err != nil {
		return nil, err
	}
	// A trap is kept, for the guest may have set its error before.
	results, trap := h.entry.Call(h.ctx)
	// Read the registers in every case. An error that the guest set counts first, also with result 0; then a
	// trap; then a result other than 0.
	var registers [3]uint64
	for i, name := range []string{"output_offset", "output_length", "error_get"} {
		var err error
		if registers[i], err = h.ask(name); err != nil {
			return nil, err
		}
	}
	length, err := h.ask("length", registers[2]) // of handle 0 it is 0
	if err != nil {
		return nil, err
	}
	if registers[2] != 0 && length != 0 {
		message, err := h.view(registers[2], length)
		if err != nil {
			return nil, err
		}
		return nil, errors.New(strings.ToValidUTF8(string(message), "\uFFFD"))
	}
	if trap != nil {
		words, _, _ := strings.Cut(trap.Error(), "\n") // the rest is the stack
		return nil, fmt.Errorf("the plug-in trapped: %s", words)
	}
	if len(results) > 0 && uint32(results[0]) != 0 {
		return nil, fmt.Errorf("the plug-in returned %d", int32(results[0]))
	}
	output, err := h.view(registers[0], registers[1])
	return bytes.Clone(output), err // a copy: the next call writes over it
}
