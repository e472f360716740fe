//! [`SiteTask`]: follows the objects of one set, and makes its site due when they change.

use super::SeenObjects;
use super::limits::WatchLimits;
use super::stream::{MetadataWatch, WatchEvent};
use crate::client::ClusterClient;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tko_core::{Enqueue, Lane, SiteId, Stage, WorkerApi};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, channel};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// Time in which events are collected, and the pass's own writes arrive.
const SETTLE: Duration = Duration::from_millis(300);

/// Pause after the first time that events made the site due; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause: objects that change all the time cost one pass in this time.
const MAX_PAUSE: Duration = Duration::from_mins(1);

/// Time without events after which the pause is the first again.
const QUIET: Duration = Duration::from_mins(3);

/// Time without a pass of this process after which another process may follow the site instead.
const LIFETIME: Duration = Duration::from_hours(1);

/// Time after which a kind that may not be watched is tried again.
const REFUSAL: Duration = Duration::from_hours(1);

/// Maximum number of objects whose events are collected; with more of them the site is due anyway.
const MAX_PENDING: usize = 10_000;

/// What happens to the set of a site.
pub(crate) enum PassCommand {
    /// A pass began.
    Started,
    /// A pass was given up; objects may have changed.
    Failed,
    /// A pass ended, and these objects are to be followed.
    Finished {
        client: Arc<ClusterClient>,
        /// The selector of the members.
        selector: String,
        seen: SeenObjects,
    },
}

/// Follows the objects of one set.
pub(crate) struct SiteTask {
    site: SiteId,
    data: Arc<dyn WorkerApi>,
    limits: Arc<WatchLimits>,
    sender: Sender<WatchEvent>,
    events: Receiver<WatchEvent>,
    client: Option<Arc<ClusterClient>>,
    tasks: JoinSet<()>,
    /// The streams that run, by path.
    streams: HashMap<String, AbortHandle>,
    /// Paths that may not be watched.
    refused: HashMap<String, Instant>,
    news: News,
    /// The number of passes that run.
    running: usize,
    /// When the collected events are looked at.
    due: Option<Instant>,
    pause: Duration,
    /// When the site may be made due again.
    not_before: Instant,
}

/// What is known of the objects, and what events said.
#[derive(Default)]
struct News {
    /// The version of each object that the last pass saw, by UID.
    known: HashMap<String, String>,
    /// The last version of each object that an event named, by UID; `None`: it is gone.
    pending: HashMap<String, Option<String>>,
    /// Events may have been missed.
    missed: bool,
}

impl News {
    fn add(&mut self, uid: String, version: Option<String>) {
        if self.pending.len() >= MAX_PENDING {
            self.pending.clear();
            self.missed = true;
        }
        self.pending.insert(uid, version);
    }

    fn is_empty(&self) -> bool {
        self.pending.is_empty() && !self.missed
    }

    /// Whether the last pass does not know everything that was collected, which is forgotten.
    fn take(&mut self) -> bool {
        let missed = std::mem::take(&mut self.missed);
        let pending = std::mem::take(&mut self.pending);
        missed
            || pending
                .iter()
                .any(|(uid, version)| match (version, self.known.get(uid)) {
                    (None, known) => known.is_some(),
                    (Some(version), Some(known)) => is_newer(version, known),
                    (Some(_), None) => true,
                })
    }
}

/// Whether a resource version is newer. They are numbers, and if not, another one is newer.
fn is_newer(version: &str, known: &str) -> bool {
    match (version.parse::<u64>(), known.parse::<u64>()) {
        (Ok(version), Ok(known)) => version > known,
        _ => version != known,
    }
}

impl SiteTask {
    pub(crate) fn new(site: SiteId, data: Arc<dyn WorkerApi>, limits: Arc<WatchLimits>) -> Self {
        let (sender, events) = channel(64);
        Self {
            site,
            data,
            limits,
            sender,
            events,
            client: None,
            tasks: JoinSet::new(),
            streams: HashMap::new(),
            refused: HashMap::new(),
            news: News::default(),
            running: 0,
            due: None,
            pause: FIRST_PAUSE,
            not_before: Instant::now(),
        }
    }

    /// Follows the objects until the site is forgotten, or no pass has come for a long time.
    pub(crate) async fn run(mut self, mut commands: UnboundedReceiver<PassCommand>) {
        let mut until = Instant::now() + LIFETIME;
        loop {
            // While a pass runs, its own writes cannot be told from those of others.
            let due = self.due.filter(|_| self.running == 0);
            tokio::select! {
                command = commands.recv() => {
                    let Some(command) = command else { return };
                    until = Instant::now() + LIFETIME;
                    self.obey(command);
                }
                event = self.events.recv() => {
                    // This task has a sender of its own, so there is always an event.
                    let Some(event) = event else { return };
                    self.note(event);
                }
                () = sleep_until(due.unwrap_or(until)), if due.is_some() => self.look().await,
                // Watches with finished tasks would grow for ever.
                Some(_) = self.tasks.join_next() => {}
                () = sleep_until(until) => {
                    // The process that takes the site follows it from then on.
                    commands.close();
                    self.enqueue().await;
                    return;
                }
            }
        }
    }

    fn obey(&mut self, command: PassCommand) {
        match command {
            PassCommand::Started => self.running += 1,
            PassCommand::Failed => self.running = self.running.saturating_sub(1),
            PassCommand::Finished {
                client,
                selector,
                seen,
            } => {
                self.running = self.running.saturating_sub(1);
                self.news.known = seen.versions;
                self.follow(&client, &selector, seen.lists);
            }
        }
        if self.running == 0 && !self.news.is_empty() {
            self.schedule_look();
        }
    }

    fn note(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Changed { uid, version } => self.news.add(uid, version),
            WatchEvent::Expired { path } => {
                self.streams.remove(&path);
                self.news.missed = true;
            }
            WatchEvent::Refused { path } => {
                self.streams.remove(&path);
                self.refused.insert(path, Instant::now() + REFUSAL);
                return;
            }
        }
        if self.due.is_none() {
            self.schedule_look();
        }
    }

    fn schedule_look(&mut self) {
        let now = Instant::now();
        self.due = Some((now + SETTLE).max(self.not_before));
    }

    /// Makes the site due, if events say what the last pass does not know.
    async fn look(&mut self) {
        self.due = None;
        if !self.news.take() {
            return;
        }
        let now = Instant::now();
        if now > self.not_before + QUIET {
            self.pause = FIRST_PAUSE;
        }
        self.not_before = now + self.pause;
        self.pause = (self.pause * 2).min(MAX_PAUSE);
        if !self.enqueue().await {
            self.news.missed = true;
            self.schedule_look();
        }
    }

    async fn enqueue(&self) -> bool {
        let site = &self.site;
        let work = Enqueue::now(Stage::Schedule, site, Lane::of(site.as_str()));
        match self.data.enqueue(vec![work]).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(
                    site = site.as_str(),
                    error = error.chain(),
                    "could not make a site due whose objects changed; trying again"
                );
                false
            }
        }
    }

    /// Starts and ends streams, so that these lists are followed.
    fn follow(
        &mut self,
        client: &Arc<ClusterClient>,
        selector: &str,
        lists: BTreeMap<String, String>,
    ) {
        if !self
            .client
            .as_ref()
            .is_some_and(|old| Arc::ptr_eq(old, client))
        {
            // Other credentials, or another cluster.
            self.tasks.abort_all();
            self.streams.clear();
            self.refused.clear();
            self.client = Some(client.clone());
        }
        let now = Instant::now();
        self.refused.retain(|_, until| *until > now);
        self.streams.retain(|path, stream| {
            let stays = lists.contains_key(path) && !stream.is_finished();
            if !stays {
                stream.abort();
            }
            stays
        });
        for (path, version) in lists {
            if self.streams.contains_key(&path) || self.refused.contains_key(&path) {
                continue;
            }
            let Some(permit) = self.limits.permit(client.address()) else {
                tracing::debug!(
                    site = self.site.as_str(),
                    path,
                    "not watched: the cluster or this process has too many watches"
                );
                continue;
            };
            let stream = MetadataWatch {
                client: client.clone(),
                path: path.clone(),
                selector: selector.to_owned(),
                version,
                events: self.sender.clone(),
                _permit: permit,
            };
            self.streams.insert(path, self.tasks.spawn(stream.run()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::News;

    fn news() -> News {
        let mut news = News::default();
        news.known.insert("a".to_owned(), "10".to_owned());
        news
    }

    #[test]
    fn what_the_pass_read_or_wrote_is_no_news() {
        let mut news = news();
        for version in ["7", "10"] {
            news.add("a".to_owned(), Some(version.to_owned()));
            assert!(!news.take(), "{version}");
        }
        // The pass pruned it.
        news.add("b".to_owned(), Some("11".to_owned()));
        news.add("b".to_owned(), None);
        assert!(!news.take());
        assert!(news.is_empty());
    }

    #[test]
    fn changes_of_others_are_news_once() {
        for (uid, version) in [
            ("a", Some("11")),
            ("a", None),
            ("b", Some("3")),
            ("a", Some("x")),
        ] {
            let mut news = news();
            news.add(uid.to_owned(), version.map(str::to_owned));
            assert!(news.take(), "{uid} {version:?}");
            assert!(!news.take());
        }
    }

    #[test]
    fn more_events_than_are_kept_are_news() {
        let mut news = news();
        for number in 0..=super::MAX_PENDING {
            news.add(number.to_string(), None);
        }
        assert!(news.pending.len() <= super::MAX_PENDING && news.take());
    }
}
