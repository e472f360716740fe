;; Has two memories of 10 MiB each.
(module (memory (export "memory") 160) (memory 160) (func (export "_start")))
