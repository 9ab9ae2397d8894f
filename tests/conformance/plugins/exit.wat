;; A plug-in that ends its calls with `proc_exit` of WASI preview 1.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "input_offset" (func $input_offset (result i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/env" "error_set" (func $error_set (param i64)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (global $calls (mut i32) (i32.const 48))

  ;; Answers with the number of calls so far, as a digit.
  (func $answer
    (local $h i64)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (local.set $h (call $alloc (i64.const 1)))
    (call $store_u8 (local.get $h) (global.get $calls))
    (call $output_set (local.get $h) (i64.const 1)))
  (func (export "fine") (result i32)
    (call $output_set (call $input_offset) (call $length (call $input_offset)))
    (i32.const 0))
  (func (export "exit_0") (result i32) (call $answer) (call $proc_exit (i32.const 0)) unreachable)
  (func (export "exit_77") (result i32) (call $answer) (call $proc_exit (i32.const 77)) unreachable)
  (func (export "fail_and_exit_0") (result i32)
    (call $error_set (call $input_offset)) (call $proc_exit (i32.const 0)) unreachable)
  (func (export "_start") (call $answer) (call $proc_exit (i32.const 0)))
)
