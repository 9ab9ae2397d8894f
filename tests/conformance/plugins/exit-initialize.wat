;; A module whose `_initialize` ends with `proc_exit(77)`.
(module
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_initialize") (call $proc_exit (i32.const 77)))
  (func (export "fine") (result i32) (call $output_set (i64.const 0) (i64.const 0)) (i32.const 0))
)
