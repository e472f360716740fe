;; A KRM function in WebAssembly: puts the zone of the edge where resources say TODO-zone.
;;
;; It reads a ResourceList from stdin, replaces every "TODO-zone" by "zone-east", which is as long,
;; and writes the list to stdout. TKO and wasmtime read this text as it is; `wat2wasm` makes a binary
;; of it. Run it alone with `tko fn wasm:examples/kpt/set-zone.wat < LIST`.
(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  ;; 0: the address and length of a buffer; 8: how many bytes were moved; 1024: the list.
  (memory (export "memory") 2)
  (data (i32.const 16) "TODO-zone")
  (data (i32.const 32) "zone-east")

  (func $read_all (result i32)
    (local $end i32) (local $read i32)
    (local.set $end (i32.const 1024))
    (block $eof
      (loop $more
        ;; Twice the memory when less than a page is left.
        (if (i32.gt_u (i32.add (local.get $end) (i32.const 65536))
                      (i32.mul (memory.size) (i32.const 65536)))
          (then
            (if (i32.eq (memory.grow (memory.size)) (i32.const -1))
              (then (call $proc_exit (i32.const 1))))))
        (i32.store (i32.const 0) (local.get $end))
        (i32.store (i32.const 4) (i32.const 65536))
        (if (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))
          (then (call $proc_exit (i32.const 2))))
        (local.set $read (i32.load (i32.const 8)))
        (br_if $eof (i32.eqz (local.get $read)))
        (local.set $end (i32.add (local.get $end) (local.get $read)))
        (br $more)))
    (local.get $end))

  (func $replace (param $end i32)
    (local $at i32)
    (local.set $at (i32.const 1024))
    (block $done
      (loop $next
        (br_if $done (i32.gt_u (i32.add (local.get $at) (i32.const 9)) (local.get $end)))
        ;; Eight bytes at once, then the ninth.
        (if (i32.and
              (i64.eq (i64.load (local.get $at)) (i64.load (i32.const 16)))
              (i32.eq (i32.load8_u offset=8 (local.get $at)) (i32.load8_u (i32.const 24))))
          (then
            (i64.store (local.get $at) (i64.load (i32.const 32)))
            (i32.store8 offset=8 (local.get $at) (i32.load8_u (i32.const 40)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next))))

  (func $write_all (param $end i32)
    (local $at i32)
    (local.set $at (i32.const 1024))
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (i32.store (i32.const 0) (local.get $at))
        (i32.store (i32.const 4) (i32.sub (local.get $end) (local.get $at)))
        (if (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))
          (then (call $proc_exit (i32.const 3))))
        (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
        (br $more))))

  (func (export "_start")
    (local $end i32)
    (local.set $end (call $read_all))
    (call $replace (local.get $end))
    (call $write_all (local.get $end))))
