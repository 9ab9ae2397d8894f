;; fail: fails in the way that the first byte of its input names.
;;
;;   e   sets the error "rejected" and returns 1, as most plug-ins do
;;   q   sets the error "rejected" and returns 0; it counts all the same
;;   s   returns 3 and sets no error
;;   t   traps
;;
;; Any other input, also an empty one, is the answer.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "input_offset" (func $input_offset (result i64)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/env" "error_set" (func $error_set (param i64)))

  (func $reject
    (local $message i64)
    (local.set $message (call $alloc (i64.const 8)))
    (call $store_u64 (local.get $message) (i64.const 0x64657463656a6572)) ;; "rejected", little-endian
    (call $error_set (local.get $message)))

  (func (export "fail") (result i32)
    (local $first i32)
    (local.set $first (call $input_load_u8 (i64.const 0))) ;; 0 if the input is empty
    (if (i32.eq (local.get $first) (i32.const 101)) (then (call $reject) (return (i32.const 1))))
    (if (i32.eq (local.get $first) (i32.const 113)) (then (call $reject) (return (i32.const 0))))
    (if (i32.eq (local.get $first) (i32.const 115)) (then (return (i32.const 3))))
    (if (i32.eq (local.get $first) (i32.const 116)) (then unreachable))
    ;; The input is a block like any other, so it can be the output without a copy.
    (call $output_set (call $input_offset) (call $input_length))
    (i32.const 0)))
