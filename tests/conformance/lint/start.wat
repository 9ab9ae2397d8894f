;; Traps in its start function: refused when started.
(module
  (func $start (unreachable))
  (start $start))
