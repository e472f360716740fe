;; Has two memories, and exits with a code from the second.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (memory $second 1)
  (data (memory $second) (i32.const 0) "\07")
  (func (export "_start") (call $exit (i32.load8_u $second (i32.const 0)))))
