;; greet: answers "Hello, " and its input and "!". Empty input is greeted as well.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (func (export "greet") (result i32)
    (local $answer i64) (local $at i64) (local $length i64)
    (local.set $length (call $input_length))
    (local.set $answer (call $alloc (i64.add (local.get $length) (i64.const 8))))
    (if (i64.eqz (local.get $answer)) (then (return (i32.const 1)))) ;; memory was refused
    (call $store_u64 (local.get $answer) (i64.const 0x202c6f6c6c6548)) ;; "Hello, ", little-endian
    (block $done
      (loop $next
        (br_if $done (i64.ge_u (local.get $at) (local.get $length)))
        (call $store_u8
          (i64.add (i64.add (local.get $answer) (i64.const 7)) (local.get $at))
          (call $input_load_u8 (local.get $at)))
        (local.set $at (i64.add (local.get $at) (i64.const 1)))
        (br $next)))
    (call $store_u8
      (i64.add (i64.add (local.get $answer) (i64.const 7)) (local.get $length))
      (i32.const 33)) ;; "!"
    (call $output_set (local.get $answer) (i64.add (local.get $length) (i64.const 8)))
    (i32.const 0)))
