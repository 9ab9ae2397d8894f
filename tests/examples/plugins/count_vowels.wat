;; count_vowels: answers how many bytes of its input are one of "aeiouAEIOU", in decimal digits.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))

  (func $is_vowel (param $byte i32) (result i32)
    (local $letter i32)
    ;; Bit 5 is the only difference between a letter and its capital; 97 is "a".
    (local.set $letter (i32.sub (i32.or (local.get $byte) (i32.const 32)) (i32.const 97)))
    (if (i32.ge_u (local.get $letter) (i32.const 26)) (then (return (i32.const 0))))
    ;; One bit for each letter, from the right: a, e, i, o, u.
    (i32.and (i32.shr_u (i32.const 0x104111) (local.get $letter)) (i32.const 1)))

  (func (export "count_vowels") (result i32)
    (local $answer i64) (local $at i64) (local $length i64) (local $count i64)
    (local.set $length (call $input_length))
    (block $done
      (loop $next
        (br_if $done (i64.ge_u (local.get $at) (local.get $length)))
        (local.set $count (i64.add (local.get $count)
          (i64.extend_i32_u (call $is_vowel (call $input_load_u8 (local.get $at))))))
        (local.set $at (i64.add (local.get $at) (i64.const 1)))
        (br $next)))
    ;; The digits are written from the last to the first; a 64-bit number has at most 20.
    (local.set $answer (call $alloc (i64.const 20)))
    (if (i64.eqz (local.get $answer)) (then (return (i32.const 1)))) ;; memory was refused
    (local.set $at (i64.const 20))
    (loop $digit
      (local.set $at (i64.sub (local.get $at) (i64.const 1)))
      (call $store_u8
        (i64.add (local.get $answer) (local.get $at))
        (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $count) (i64.const 10)))))
      (local.set $count (i64.div_u (local.get $count) (i64.const 10)))
      (br_if $digit (i64.ne (local.get $count) (i64.const 0))))
    ;; An output may be a part of a block.
    (call $output_set
      (i64.add (local.get $answer) (local.get $at))
      (i64.sub (i64.const 20) (local.get $at)))
    (i32.const 0)))
