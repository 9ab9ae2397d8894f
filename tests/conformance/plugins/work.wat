;; A plug-in for measurements: what guests do most, as often as a host asks for it.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "free" (func $free (param i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "input_load_u64" (func $input_load_u64 (param i64) (result i64)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))

  ;; 2,000 blocks of 1 to 4,096 bytes; of each two the first is freed at once.
  (func (export "allocations") (result i32)
    (local $i i64) (local $h i64)
    (loop $more
      (local.set $h (call $alloc (i64.add (i64.const 1) (i64.and (i64.mul (local.get $i) (i64.const 2654435761)) (i64.const 4095)))))
      (if (i64.eqz (local.get $h)) (then unreachable))
      (if (i64.eqz (i64.and (local.get $i) (i64.const 1))) (then (call $free (local.get $h))))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $more (i64.lt_u (local.get $i) (i64.const 2000))))
    (i32.const 0))

  ;; Answers with its input, u64 by u64, the tail u8 by u8, as PDKs copy.
  (func (export "echo") (result i32)
    (local $h i64) (local $n i64) (local $i i64)
    (local.set $n (call $input_length))
    (local.set $h (call $alloc (local.get $n)))
    (block $words_done
      (loop $words
        (br_if $words_done (i64.gt_u (i64.add (local.get $i) (i64.const 8)) (local.get $n)))
        (call $store_u64 (i64.add (local.get $h) (local.get $i)) (call $input_load_u64 (local.get $i)))
        (local.set $i (i64.add (local.get $i) (i64.const 8)))
        (br $words)))
    (block $bytes_done
      (loop $bytes
        (br_if $bytes_done (i64.ge_u (local.get $i) (local.get $n)))
        (call $store_u8 (i64.add (local.get $h) (local.get $i)) (call $input_load_u8 (local.get $i)))
        (local.set $i (i64.add (local.get $i) (i64.const 1)))
        (br $bytes)))
    (call $output_set (local.get $h) (local.get $n))
    (i32.const 0))

  ;; Reads its input and answers nothing.
  (func (export "consume") (result i32)
    (local $n i64) (local $i i64) (local $sum i64)
    (local.set $n (call $input_length))
    (block $done
      (loop $words
        (br_if $done (i64.gt_u (i64.add (local.get $i) (i64.const 8)) (local.get $n)))
        (local.set $sum (i64.add (local.get $sum) (call $input_load_u64 (local.get $i))))
        (local.set $i (i64.add (local.get $i) (i64.const 8)))
        (br $words)))
    (if (i64.eqz (i64.add (local.get $sum) (local.get $n))) (then unreachable)) ;; the sum is used
    (i32.const 0))
)
