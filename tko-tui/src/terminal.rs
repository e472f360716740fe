//! The terminal of the process: raw mode, the alternate screen, the mouse, and their restoration.

use crate::draw::ScreenTheme;
use crate::driver::Driver;
use crate::state::Screen;
use crate::text::TimeZoneOffset;
use ratatui::crossterm::event::{self, DisableMouseCapture, EnableMouseCapture, Event};
use ratatui::crossterm::execute;
use std::io::{self, IsTerminal, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tko_core::DataApi;
use tokio::sync::{Notify, mpsc};

/// The interval at which the thread that reads the terminal checks whether it should end.
const LOOK: Duration = Duration::from_millis(100);

/// Capacity of the queue of terminal events.
const WAITING: usize = 256;

/// The arguments of the dashboard.
#[derive(Clone, Debug)]
pub struct DashboardSettings {
    /// The time zone in which times are shown.
    pub zone: TimeZoneOffset,
    /// Facts about the server for the page about it: name and value.
    pub server: Vec<(String, String)>,
    /// Whether colours are used.
    pub has_colours: bool,
}

impl DashboardSettings {
    /// UTC; colours unless the variable `NO_COLOR` is set and not empty.
    pub fn new() -> Self {
        Self {
            zone: TimeZoneOffset::default(),
            server: Vec::new(),
            has_colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }

    /// Sets the time zone in which times are shown.
    #[must_use]
    pub fn zone(mut self, zone: TimeZoneOffset) -> Self {
        self.zone = zone;
        self
    }

    /// Sets the facts about the server.
    #[must_use]
    pub fn server(mut self, server: Vec<(String, String)>) -> Self {
        self.server = server;
        self
    }
}

impl Default for DashboardSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// Restores the terminal when it is dropped.
struct RawTerminal;

impl Drop for RawTerminal {
    fn drop(&mut self) {
        release_mouse();
        ratatui::restore();
    }
}

fn release_mouse() {
    // There is no place to report a failure.
    let _ = execute!(stdout(), DisableMouseCapture);
}

/// Shows the dashboard on the terminal of the process until a person quits it, or SIGINT, SIGTERM
/// or SIGHUP arrives. The terminal is restored then, and also after a panic of any thread.
///
/// # Errors
/// Standard output is not a terminal, or the terminal fails.
pub async fn run(api: Arc<dyn DataApi>, settings: DashboardSettings) -> io::Result<()> {
    if !stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(io::Error::other(
            "the dashboard needs a terminal as standard input and output",
        ));
    }
    let panicked = Arc::new(Notify::new());
    let hook = std::panic::take_hook();
    let notify = panicked.clone();
    std::panic::set_hook(Box::new(move |info| {
        hook(info);
        // The panic of a task would leave the dashboard half alive.
        notify.notify_one();
    }));
    // The terminal library's panic hook restores the screen before the hook above prints.
    let terminal = ratatui::try_init()?;
    let _restore = RawTerminal;
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        release_mouse();
        hook(info);
    }));
    execute!(stdout(), EnableMouseCapture)?;
    let mut signals = EndSignals::new()?;
    let (reader, inputs) = TerminalReader::start();
    let screen = Screen::new(settings.zone, settings.server);
    let theme = ScreenTheme::new(settings.has_colours);
    let mut driver = Driver::new(terminal, screen, theme, api, inputs)?;
    let result = loop {
        tokio::select! {
            () = signals.next() => break Ok(()),
            () = panicked.notified() => {
                break Err(io::Error::other("the dashboard failed; please report this"));
            }
            step = driver.step() => match step {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            },
        }
    };
    reader.stop();
    result
}

/// The thread that reads the terminal: reading blocks.
struct TerminalReader(Arc<AtomicBool>);

impl TerminalReader {
    fn start() -> (Self, mpsc::Receiver<Event>) {
        let (sender, inputs) = mpsc::channel(WAITING);
        let has_ended = Arc::new(AtomicBool::new(false));
        let ended = has_ended.clone();
        std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let event = match event::poll(LOOK) {
                    Ok(false) => continue,
                    Ok(true) => event::read(),
                    Err(error) => Err(error),
                };
                // The end of the channel ends the dashboard, for example if the terminal is gone.
                let Ok(event) = event else { return };
                if sender.blocking_send(event).is_err() {
                    return;
                }
            }
        });
        (Self(has_ended), inputs)
    }

    fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The signals that end the dashboard.
struct EndSignals {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 3],
}

#[cfg(unix)]
impl EndSignals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let signals = [interrupt, terminate, signal(SignalKind::hangup())?];
        Ok(Self { signals })
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl EndSignals {
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
