//! [`Driver`]: the loop of terminal events, replies and drawing.

use crate::action::ScreenMap;
use crate::draw::{ScreenTheme, draw};
use crate::fetch::{FetchReply, FetchRequest, Fetcher};
use crate::follow::follow;
use crate::input::InputReader;
use crate::state::Screen;
use ratatui::Terminal;
use ratatui::backend::Backend;
use ratatui::crossterm::event::Event;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tko_core::DataApi;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// The shortest time between two frames.
pub(crate) const FRAME: Duration = Duration::from_millis(33);

/// The shortest time between two requests for something that changed.
const REFRESH: Duration = Duration::from_secs(2);

/// Capacity of the queue of replies. A feed that is faster than the screen waits.
const WAITING: usize = 256;

/// Number of replies that are applied before terminal events are handled again.
const BATCH: usize = 64;

/// Runs a screen on a terminal.
pub(crate) struct Driver<B: Backend> {
    terminal: Terminal<B>,
    pub(crate) screen: Screen,
    theme: ScreenTheme,
    fetcher: Fetcher,
    follower: JoinHandle<()>,
    replies: mpsc::Receiver<FetchReply>,
    inputs: mpsc::Receiver<Event>,
    reader: InputReader,
    map: ScreenMap,
    is_dirty: bool,
    next_frame: Instant,
    next_refresh: Instant,
    /// The number of frames that were drawn.
    pub(crate) frames: u64,
    /// The number of requests that were made.
    pub(crate) requests: u64,
    /// How long each frame took.
    #[cfg(test)]
    pub(crate) draw_times: Vec<Duration>,
}

impl<B: Backend<Error: Send + Sync + 'static>> Driver<B> {
    /// Starts to follow the feed. Call it within a runtime.
    ///
    /// # Errors
    /// The size of the terminal cannot be read.
    pub(crate) fn new(
        terminal: Terminal<B>,
        mut screen: Screen,
        theme: ScreenTheme,
        api: Arc<dyn DataApi>,
        inputs: mpsc::Receiver<Event>,
    ) -> io::Result<Self> {
        let (sender, replies) = mpsc::channel(WAITING);
        let size = terminal.size().map_err(io::Error::other)?;
        screen.size = (size.width, size.height);
        let now = Instant::now();
        Ok(Self {
            follower: tokio::spawn(follow(api.clone(), sender.clone())),
            fetcher: Fetcher::new(api, sender),
            terminal,
            screen,
            theme,
            replies,
            inputs,
            reader: InputReader::default(),
            map: ScreenMap::default(),
            is_dirty: true,
            next_frame: now,
            next_refresh: now,
            frames: 0,
            requests: 0,
            #[cfg(test)]
            draw_times: Vec::new(),
        })
    }

    /// Waits for the next event and handles it. Returns whether the dashboard continues.
    ///
    /// # Errors
    /// Drawing fails.
    pub(crate) async fn step(&mut self) -> io::Result<bool> {
        let is_stale = self.screen.is_stale();
        // In this order, so that neither keys nor drawing wait during a storm of changes.
        tokio::select! {
            biased;
            input = self.inputs.recv() => match input {
                Some(event) => self.input(&event),
                None => self.screen.has_quit = true,
            },
            () = sleep_until(self.next_frame), if self.is_dirty => self.draw()?,
            () = sleep_until(self.next_refresh), if is_stale => {
                self.next_refresh = Instant::now() + REFRESH;
                let requests = self.screen.refresh(false);
                self.start(requests);
            }
            reply = self.replies.recv() => {
                let mut reply = reply;
                let mut left = BATCH;
                while let Some(one) = reply {
                    self.receive(one);
                    left -= 1;
                    reply = if left > 0 { self.replies.try_recv().ok() } else { None };
                }
            }
        }
        Ok(!self.screen.has_quit)
    }

    fn input(&mut self, event: &Event) {
        let now = Instant::now();
        if let Some(action) = self
            .reader
            .action(event, self.screen.mode(), &self.map, now)
        {
            let requests = self.screen.act(action);
            self.start(requests);
            self.is_dirty = true;
        }
    }

    fn receive(&mut self, reply: FetchReply) {
        let is_silent = matches!(&reply, FetchReply::Events(events)
            if events.iter().all(|event| matches!(event, tko_core::Event::Bookmark { .. })));
        let requests = self.screen.receive(reply);
        self.start(requests);
        self.is_dirty |= !is_silent;
    }

    fn start(&mut self, requests: Vec<FetchRequest>) {
        for request in requests {
            self.requests += 1;
            self.fetcher.start(request);
        }
    }

    fn draw(&mut self) -> io::Result<()> {
        let (screen, theme) = (&self.screen, self.theme);
        let mut map = ScreenMap::default();
        #[cfg(test)]
        let began = Instant::now();
        let drawn = self.terminal.draw(|frame| map = draw(frame, screen, theme));
        drawn.map_err(io::Error::other)?;
        #[cfg(test)]
        self.draw_times.push(began.elapsed());
        self.map = map;
        self.frames += 1;
        self.is_dirty = false;
        self.next_frame = Instant::now() + FRAME;
        Ok(())
    }

    /// The places that take clicks on the last frame.
    #[cfg(test)]
    pub(crate) fn map(&self) -> &ScreenMap {
        &self.map
    }

    /// The terminal.
    #[cfg(test)]
    pub(crate) fn terminal(&self) -> &Terminal<B> {
        &self.terminal
    }
}

impl<B: Backend> Drop for Driver<B> {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

#[cfg(test)]
mod scale;
#[cfg(test)]
mod tests;
