;; A linked module: makes a block in the kernel's memory and returns its handle. Keeps a memory of its own.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (memory 1)
  (global $is_ready (mut i32) (i32.const 0))
  (func $_initialize (export "_initialize") (global.set $is_ready (i32.const 111)))
  (func $greeting (export "greeting") (result i64)
    (local $h i64)
    (local.set $h (call $alloc (i64.const 2)))
    (call $store_u8 (local.get $h) (i32.const 104))
    (call $store_u8 (i64.add (local.get $h) (i64.const 1)) (global.get $is_ready))
    (local.get $h))
)
