//! The clock that interrupts functions: it advances the epoch of the engines while functions run.
//!
//! Code checks the epoch at every call and loop, which is cheap, and checks its deadline when the
//! epoch has advanced. One thread advances it for all calls, and ends when no call has run for a
//! while.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use wasmtime::Engine;

/// Time between two advances: a call may exceed its limit by this much.
const TICK: Duration = Duration::from_millis(10);
/// Number of advances without a call after which the thread ends.
pub(super) const IDLE: u32 = 200;

/// A clock for engines.
pub(super) struct EpochClock {
    engines: Vec<Engine>,
    idle: u32,
    state: Mutex<ClockState>,
}

#[derive(Default)]
struct ClockState {
    /// Number of running calls.
    running: usize,
    /// Whether the thread runs.
    is_ticking: bool,
}

/// A running call. The clock ticks until it is dropped.
pub(super) struct TickingCall(Arc<EpochClock>);

impl EpochClock {
    /// A clock whose thread ends after `idle` moves without a call.
    pub(super) fn new(engines: Vec<Engine>, idle: u32) -> Self {
        Self {
            engines,
            idle,
            state: Mutex::default(),
        }
    }

    /// Counts a call, and starts the thread unless it runs.
    ///
    /// # Errors
    /// The operating system cannot start the thread.
    pub(super) fn start(self: &Arc<Self>) -> io::Result<TickingCall> {
        let mut state = self.state();
        if !state.is_ticking {
            let clock = self.clone();
            thread::Builder::new()
                .name("tko-wasm-clock".to_owned())
                .spawn(move || clock.tick())?;
            state.is_ticking = true;
        }
        state.running += 1;
        drop(state);
        Ok(TickingCall(self.clone()))
    }

    fn tick(&self) {
        let mut idle = 0;
        loop {
            thread::sleep(TICK);
            for engine in &self.engines {
                engine.increment_epoch();
            }
            let mut state = self.state();
            idle = if state.running > 0 { 0 } else { idle + 1 };
            if idle >= self.idle {
                state.is_ticking = false;
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, ClockState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TickingCall {
    fn drop(&mut self) {
        self.0.state().running -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::EpochClock;
    use std::sync::Arc;
    use wasmtime::{Engine, Module, Store};

    #[test]
    fn the_thread_ticks_while_a_call_runs_and_starts_again() {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).expect("an engine");
        let code = "(module (func (export \"run\") (loop (br 0))))";
        let module = Module::new(&engine, code).expect("a module");
        let clock = Arc::new(EpochClock::new(vec![engine.clone()], 1));
        for _ in 0..2 {
            let running = clock.start().expect("a thread");
            let mut store = Store::new(&engine, ());
            store.set_epoch_deadline(1);
            let instance = wasmtime::Instance::new(&mut store, &module, &[]).expect("an instance");
            let run = instance.get_typed_func::<(), ()>(&mut store, "run");
            let ended = run.expect("a function").call(&mut store, ());
            assert!(ended.is_err(), "it ended by itself");
            drop(running);
            while clock.state().is_ticking {
                std::thread::yield_now();
            }
        }
    }
}
