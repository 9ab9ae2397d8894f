;; A plug-in that runs into limits: time, memory, stack.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "length" (func $length (param i64) (result i64)))
  (import "extism:host/env" "input_offset" (func $input_offset (result i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (memory (export "memory") 1)
  (func (export "fine") (result i32)
    (call $output_set (call $input_offset) (call $length (call $input_offset)))
    (i32.const 0))
  (func (export "loop") (result i32) (loop $l (br $l)) (i32.const 0))
  (func $f (export "recurse") (result i32) (call $f))
  (func (export "grow_until_refused") (result i32) ;; 0: it was refused within 4,096 pages, 1: never
    (local $i i32)
    (loop $l
      (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (return (i32.const 0))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.const 4096))))
    (i32.const 1))
  (func (export "grow_or_trap") (result i32) ;; as an allocator does that cannot go on without memory
    (local $i i32)
    (loop $l
      (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.const 4096))))
    (i32.const 0))
  (func (export "alloc_until_refused") (result i32) ;; 0: it was refused within 4,096 blocks, 1: never
    (local $i i32)
    (loop $l
      (if (i64.eqz (call $alloc (i64.const 65536))) (then (return (i32.const 0))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.const 4096))))
    (i32.const 1))
)
