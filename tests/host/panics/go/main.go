// A plug-in whose function reads past the end of a slice.
package main

import "fmt"

//go:wasmexport explode
func explode() int32 {
	var list []int
	fmt.Println("about to read")
	return int32(list[3])
}

func main() {}
