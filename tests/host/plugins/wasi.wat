;; A plug-in that uses WASI: opens the path given as input below the first allowed folder, sleeps, exits.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (memory (export "memory") 2)
  (global $starts (mut i32) (i32.const 0))

  (func $input_to_memory (result i32) ;; at 1024; returns its length
    (local $i i32) (local $n i32)
    (local.set $n (i32.wrap_i64 (call $input_length)))
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (i32.store8 (i32.add (i32.const 1024) (local.get $i))
          (call $input_load_u8 (i64.extend_i32_u (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (local.get $n))

  (func $answer (param $from i32) (param $n i32)
    (local $h i64) (local $i i32)
    (local.set $h (call $alloc (i64.extend_i32_u (local.get $n))))
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (call $store_u8 (i64.add (local.get $h) (i64.extend_i32_u (local.get $i)))
          (i32.load8_u (i32.add (local.get $from) (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $more)))
    (call $output_set (local.get $h) (i64.extend_i32_u (local.get $n))))

  ;; Opens the file named by the input below descriptor 3; traps with its errno as the result otherwise.
  (func $open (param $oflags i32) (param $rights i64) (result i32)
    (call $path_open (i32.const 3) (i32.const 1) (i32.const 1024) (call $input_to_memory)
      (local.get $oflags) (local.get $rights) (local.get $rights) (i32.const 0) (i32.const 16)))

  (func (export "read_file") (result i32)
    (local $errno i32)
    (local.set $errno (call $open (i32.const 0) (i64.const 2)))
    (if (local.get $errno) (then (return (local.get $errno))))
    (i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (i32.const 1000))
    (local.set $errno (call $fd_read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))
    (if (local.get $errno) (then (return (local.get $errno))))
    (call $answer (i32.const 4096) (i32.load (i32.const 8)))
    (i32.const 0))

  (func (export "write_file") (result i32) ;; creates it, writes its name into it
    (local $errno i32)
    (local.set $errno (call $open (i32.const 1) (i64.const 64)))
    (if (local.get $errno) (then (return (local.get $errno))))
    (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.wrap_i64 (call $input_length)))
    (call $fd_write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))

  (func (export "sleep_an_hour") (result i32)
    (i64.store (i32.const 0) (i64.const 1)) (i32.store8 (i32.const 8) (i32.const 0))
    (i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 3600000000000))
    (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))

  (func (export "sleep_a_little") (result i32)
    (i64.store (i32.const 0) (i64.const 77)) (i32.store8 (i32.const 8) (i32.const 0))
    (i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const 20000000))
    (if (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)) (then (return (i32.const 1))))
    (call $answer (i32.const 64) (i32.const 8))
    (i32.const 0))

  (func (export "poll_outside_memory") (result i32)
    (call $poll (i32.const -8) (i32.const 64) (i32.const 1) (i32.const 128)))
  (func (export "clock_outside_memory") (result i32)
    (call $clock (i32.const 1) (i64.const 0) (i32.const -4)))
  (func (export "exit_0") (call $proc_exit (i32.const 0)))
  (func (export "exit_3") (call $proc_exit (i32.const 3)))
  (func (export "_start")
    (global.set $starts (i32.add (global.get $starts) (i32.const 1)))
    (i32.store8 (i32.const 0) (i32.add (i32.const 48) (global.get $starts)))
    (call $answer (i32.const 0) (i32.const 1)))
)
