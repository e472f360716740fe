;; Grows one of its two memories to 10 MiB, and then the other.
(module (memory (export "memory") 1) (memory $second 1)
  (func (export "_start")
    (drop (memory.grow (i32.const 159)))
    (drop (memory.grow $second (i32.const 159)))))
