;; Uses its stack without end.
(module (memory (export "memory") 1)
  (func $again (param i64) (call $again (i64.add (local.get 0) (i64.const 1))))
  (func (export "_start") (call $again (i64.const 0))))
