;; Greets whoever is named by the input: output is "Hello, " and the input.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (func (export "greet") (result i32)
    (local $h i64) (local $i i64)
    (local.set $h (call $alloc (i64.add (i64.const 8) (call $input_length))))
    (call $store_u64 (local.get $h) (i64.const 0x202c6f6c6c6548)) ;; "Hello, "
    (block $done
      (loop $more
        (br_if $done (i64.ge_u (local.get $i) (call $input_length)))
        (call $store_u8 (i64.add (i64.add (local.get $h) (i64.const 7)) (local.get $i))
          (call $input_load_u8 (local.get $i)))
        (local.set $i (i64.add (local.get $i) (i64.const 1)))
        (br $more)))
    (call $output_set (local.get $h) (i64.add (i64.const 7) (call $input_length)))
    (i32.const 0))
)
