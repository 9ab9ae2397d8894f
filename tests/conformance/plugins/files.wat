;; A plug-in that reads and writes files of its first folder by WASI preview 1. Its input is a path.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "error_set" (func $error_set (param i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (memory (export "memory") 1)
  ;; 0: the descriptor, 8: one vector (address, length), 16: the number of bytes, 32: "x", 1024: the path, 4096: the bytes
  (data (i32.const 32) "x")
  (global $folder i32 (i32.const 3))
  (global $fd_read_right i64 (i64.const 2))
  (global $fd_write_right i64 (i64.const 64))

  ;; Opens the path of the input; an errno.
  (func $open (param $flags i32) (param $rights i64) (result i32)
    (local $i i64)
    (block $done
      (loop $more
        (br_if $done (i64.ge_u (local.get $i) (call $input_length)))
        (i32.store8 (i32.add (i32.const 1024) (i32.wrap_i64 (local.get $i))) (call $input_load_u8 (local.get $i)))
        (local.set $i (i64.add (local.get $i) (i64.const 1)))
        (br $more)))
    (call $path_open (global.get $folder) (i32.const 1) (i32.const 1024) (i32.wrap_i64 (call $input_length))
      (local.get $flags) (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 0)))
  ;; Sets the error "errno" and a letter, `a` for 0, and gives the errno back.
  (func $refuse (param $errno i32) (result i32)
    (local $h i64)
    (local.set $h (call $alloc (i64.const 7)))
    (call $store_u8 (local.get $h) (i32.const 101))
    (call $store_u8 (i64.add (local.get $h) (i64.const 1)) (i32.const 114))
    (call $store_u8 (i64.add (local.get $h) (i64.const 2)) (i32.const 114))
    (call $store_u8 (i64.add (local.get $h) (i64.const 3)) (i32.const 110))
    (call $store_u8 (i64.add (local.get $h) (i64.const 4)) (i32.const 111))
    (call $store_u8 (i64.add (local.get $h) (i64.const 5)) (i32.const 32))
    (call $store_u8 (i64.add (local.get $h) (i64.const 6)) (i32.add (i32.const 97) (local.get $errno)))
    (call $error_set (local.get $h))
    (local.get $errno))
  (func $close (drop (call $fd_close (i32.load (i32.const 0)))))
  (func $vector (param $address i32) (param $length i32)
    (i32.store (i32.const 8) (local.get $address))
    (i32.store (i32.const 12) (local.get $length)))

  (func (export "read") (result i32) ;; an errno is an error and the result; at most 1,024 bytes of the file are the output
    (local $errno i32) (local $h i64) (local $i i32)
    (local.set $errno (call $open (i32.const 0) (global.get $fd_read_right)))
    (if (local.get $errno) (then (return (call $refuse (local.get $errno)))))
    (call $vector (i32.const 4096) (i32.const 1024))
    (local.set $errno (call $fd_read (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 16)))
    (call $close)
    (if (local.get $errno) (then (return (call $refuse (local.get $errno)))))
    (local.set $h (call $alloc (i64.load32_u (i32.const 16))))
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $i) (i32.load (i32.const 16))))
        (call $store_u8 (i64.add (local.get $h) (i64.extend_i32_u (local.get $i)))
          (i32.load8_u (i32.add (i32.const 4096) (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (call $output_set (local.get $h) (i64.load32_u (i32.const 16)))
    (i32.const 0))

  (func (export "write") (result i32) ;; makes the file with "x" in it; an errno is an error and the result
    (local $errno i32)
    (local.set $errno (call $open (i32.const 1) (global.get $fd_write_right)))
    (if (local.get $errno) (then (return (call $refuse (local.get $errno)))))
    (call $vector (i32.const 32) (i32.const 1))
    (local.set $errno (call $fd_write (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 16)))
    (call $close)
    (if (local.get $errno) (then (return (call $refuse (local.get $errno)))))
    (i32.const 0))
)
