//! One job: found, launched, followed, cancelled.

use super::client::AwxClient;
use crate::change::{CHANGE, SITE, SiteChange};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tko_core::{Error, ErrorKind, Result};

/// Page size of the search for a site's newest job among the jobs of a template. A power of two, so
/// that it can be halved.
const PAGE: usize = 128;
/// Maximum number of jobs that are searched.
const MOST_JOBS: usize = 2_048;
/// Maximum bytes of the variables of a job, as answers show them. AWX may escape more characters,
/// and the client refuses answers of more than twice this.
const MOST_VARIABLES: usize = 16 << 20;
/// Maximum number of consecutive requests for a job that fail because AWX is unavailable.
const MOST_FAILURES: u32 = 20;
/// How many lines of a job's output a condition shows.
const LAST_LINES: usize = 10;
/// Maximum number of characters of these lines.
const MOST_CHARACTERS: usize = 2_000;

/// One job.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The job's number in AWX.
    id: i64,
    /// The URL of the job's page in AWX's user interface.
    pub url: String,
}

/// The newest job of a site, for a change that is to be made.
#[derive(Clone, Debug)]
pub(crate) enum NewestJob {
    /// It stands for the change: it has succeeded, or has not ended.
    Usable(Job),
    /// It stands for another change, and has not ended.
    Earlier(Job),
    /// It has ended: it has failed, or stands for another change.
    Ended,
    /// No job on the searched pages belongs to the site.
    Missing,
}

impl Job {
    fn new(client: &AwxClient, id: i64) -> Self {
        let url = client.page(&format!("jobs/playbook/{id}"));
        Self { id, url }
    }

    /// The newest job of the site. If the number of its `last` known job is given, older jobs are not
    /// searched.
    ///
    /// Answers have the variables of all jobs on a page, with whole packages. If they are too large,
    /// pages become smaller. A job that alone is too large is skipped.
    ///
    /// # Errors
    /// As requests to AWX.
    pub(crate) async fn newest(
        client: &AwxClient,
        template: i64,
        change: &SiteChange,
        last: Option<i64>,
    ) -> Result<NewestJob> {
        let path = format!("job_templates/{template}/jobs/");
        let oldest = last.map(|id| id.to_string());
        let (mut at, mut most, mut has_skipped) = (0, PAGE, false);
        while at < MOST_JOBS {
            let size = page_size(at, most);
            let (number, page) = (size.to_string(), (at / size + 1).to_string());
            let mut query = vec![
                ("order_by", "-id"),
                ("page_size", number.as_str()),
                ("page", page.as_str()),
            ];
            query.extend(oldest.as_deref().map(|id| ("id__gte", id)));
            let answer = match client.get_fitting(&path, &query).await {
                Ok(Some(answer)) => answer,
                Ok(None) if size > 1 => {
                    most = size / 2;
                    continue;
                }
                Ok(None) => {
                    tracing::warn!(
                        template,
                        position = at + 1,
                        "skipping a job whose variables are too large to read"
                    );
                    (at, most, has_skipped) = (at + 1, 1, true);
                    continue;
                }
                // AWX answers 404 to a page after the last one: the skipped job was the last.
                Err(error) if has_skipped && error.kind() == ErrorKind::BadArgument => break,
                Err(error) => return Err(error),
            };
            let results = answer["results"].as_array().map_or(&[][..], Vec::as_slice);
            if let Some(newest) = results.iter().find_map(|job| of_site(client, job, change)) {
                return Ok(newest);
            }
            if answer["next"].is_null() {
                break;
            }
            (at, most, has_skipped) = (at + size, (2 * most).min(PAGE), false);
        }
        Ok(NewestJob::Missing)
    }

    /// The number of the job that a message names, as [`follow`](Self::follow) writes it.
    pub(crate) fn number(client: &AwxClient, message: &str) -> Option<i64> {
        let rest = message.strip_prefix(&client.page("jobs/playbook/"))?;
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    }

    /// The job with this number, if it stands for this change and succeeded.
    ///
    /// # Errors
    /// As requests to AWX. A job that no longer exists, or is too large to read, is `None`.
    pub(crate) async fn numbered(
        client: &AwxClient,
        id: i64,
        change: &SiteChange,
    ) -> Result<Option<Self>> {
        let job = match client.get_fitting(&format!("jobs/{id}/"), &[]).await {
            Ok(Some(job)) => job,
            Ok(None) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::BadArgument => return Ok(None),
            Err(error) => return Err(error),
        };
        let variables = variables_of(&job["extra_vars"]);
        let is = |key, text: &str| variables.get(key).and_then(Value::as_str) == Some(text);
        let same = is(SITE, &change.site) && is(CHANGE, &change.change);
        let succeeded = job["status"].as_str() == Some("successful");
        Ok((same && succeeded).then(|| Self::new(client, id)))
    }

    /// Launches a job.
    ///
    /// # Errors
    /// `BadArgument`: AWX ignored the variables or the inventory, because the job template does not
    /// prompt for them; or the variables are too large. Also the errors of requests to AWX.
    pub(crate) async fn launch(
        client: &AwxClient,
        template: i64,
        inventory: Value,
        change: &SiteChange,
    ) -> Result<Self> {
        check_size(change)?;
        // AWX writes the variables of a launch with the tag `!unsafe`, unless its setting
        // `ALLOW_JINJA_IN_EXTRA_VARS` is `always`: packages are not evaluated as templates.
        let mut body = json!({"extra_vars": change.variables});
        if !inventory.is_null() {
            body["inventory"] = inventory;
        }
        let path = format!("job_templates/{template}/launch/");
        let (_, answer) = client.post(&path, &body).await?;
        let id = answer["job"].as_i64().or_else(|| answer["id"].as_i64());
        let id = id.ok_or_else(|| client.odd(&path, "a launch without a job"))?;
        let job = Self::new(client, id);
        let ignored: Vec<&str> = answer["ignored_fields"]
            .as_object()
            .map(|fields| fields.keys().map(String::as_str).collect())
            .unwrap_or_default();
        if !ignored.is_empty() {
            job.cancel(client).await;
            let message = format!(
                "AWX ignored {} of {}: let the job template prompt for them on launch",
                ignored.join(", "),
                job.url
            );
            return Err(Error::bad("arguments", message));
        }
        Ok(job)
    }

    /// Waits for the end of the job; returns the message for the condition. Dropping the call
    /// cancels the job.
    ///
    /// # Errors
    /// - `Internal`: the job failed or was cancelled; the message has its URL and last lines.
    /// - `Unavailable`: AWX was unavailable for too long. The job continues, and the next call
    ///   finds it.
    pub(crate) async fn follow(self, client: &AwxClient, first: Duration) -> Result<String> {
        let mut guard = CancelJobOnDrop {
            job: Some((self.clone(), client.clone())),
        };
        let ended = self.ended(client, first).await;
        // The job has ended; or AWX is unavailable, and the job continues.
        guard.job = None;
        let job = ended?;
        let lines = self.last_lines(client).await;
        let text = |name: &str| job[name].as_str().unwrap_or_default();
        let status = text("status");
        if status == "successful" {
            let message = format!("{}: successful\n{lines}", self.url);
            return Ok(message.trim_end().to_owned());
        }
        let (explained, why) = (text("job_explanation"), text("result_traceback"));
        let why = format!("{status} {explained} {why}");
        let message = format!("{}\n{lines}", why.trim());
        Err(Error::internal(
            format!("finish {}", self.url),
            message.trim_end().to_owned(),
        ))
    }

    /// Cancels the job and waits until it has ended. A job that cannot be cancelled is waited for.
    ///
    /// # Errors
    /// As requests to AWX. A job that no longer exists has ended.
    pub(crate) async fn stop(&self, client: &AwxClient, first: Duration) -> Result<()> {
        self.cancel(client).await;
        match self.ended(client, first).await {
            Err(error) if error.kind() == ErrorKind::BadArgument => Ok(()),
            ended => ended.map(|_| ()),
        }
    }

    /// Waits for the end of the job, and returns it as AWX shows it. `first` is the first pause
    /// between two requests; pauses grow to ten times this.
    ///
    /// # Errors
    /// As requests to AWX; `Unavailable` only after many of them.
    async fn ended(&self, client: &AwxClient, first: Duration) -> Result<Value> {
        let (mut pause, mut failures) = (first, 0);
        loop {
            match client.get(&format!("jobs/{}/", self.id), &[]).await {
                Ok(job) => {
                    failures = 0;
                    if job["status"].as_str().is_some_and(is_final) {
                        return Ok(job);
                    }
                }
                Err(error)
                    if error.kind() == ErrorKind::Unavailable && failures < MOST_FAILURES =>
                {
                    failures += 1;
                }
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(first * 10);
        }
    }

    /// The last lines of the output, or the reason why they cannot be read.
    async fn last_lines(&self, client: &AwxClient) -> String {
        let path = format!("jobs/{}/stdout/", self.id);
        let text = match client.text(&path, &[("format", "txt")]).await {
            Ok(text) => text,
            Err(error) => return format!("its output cannot be read: {}", error.chain()),
        };
        tail(&text)
    }

    async fn cancel(&self, client: &AwxClient) {
        let path = format!("jobs/{}/cancel/", self.id);
        match client.post(&path, &Value::Object(Map::new())).await {
            Ok(_) => tracing::info!(job = self.url, "cancelled a job"),
            // AWX answers 405 if the job has ended.
            Err(error) => {
                tracing::warn!(job = self.url, error = error.chain(), "cannot cancel a job");
            }
        }
    }
}

/// The size of the page that begins at a position: pages begin at multiples of their size. `most` is
/// a power of two.
fn page_size(at: usize, most: usize) -> usize {
    if at == 0 {
        return most;
    }
    most.min(1 << at.trailing_zeros())
}

/// The job on a page, if it belongs to the site, for a change that is to be made.
fn of_site(client: &AwxClient, job: &Value, change: &SiteChange) -> Option<NewestJob> {
    let variables = variables_of(&job["extra_vars"]);
    let is = |key, text: &str| variables.get(key).and_then(Value::as_str) == Some(text);
    if !is(SITE, &change.site) {
        return None;
    }
    let status = job["status"].as_str();
    let Some(id) = job["id"].as_i64() else {
        return Some(NewestJob::Ended);
    };
    let job = Job::new(client, id);
    let has_ended = status.is_none_or(is_final);
    let same = is(CHANGE, &change.change);
    Some(if same && (!has_ended || status == Some("successful")) {
        NewestJob::Usable(job)
    } else if has_ended {
        NewestJob::Ended
    } else {
        NewestJob::Earlier(job)
    })
}

/// Refuses variables that could not be read back: the job could not be followed, and each attempt
/// would launch another one.
fn check_size(change: &SiteChange) -> Result<()> {
    let encoded = |error| Error::internal("encode the variables of a job", error);
    let text = serde_json::to_string(&change.variables).map_err(encoded)?;
    // Answers show the variables as JSON within JSON, in ASCII: `é` is `\\u00e9`.
    let escaped = |character: char| match character {
        '"' | '\\' => 2,
        character if character.is_ascii() => 1,
        character => 7 * character.len_utf16(),
    };
    let size: usize = text.chars().map(escaped).sum();
    if size <= MOST_VARIABLES {
        return Ok(());
    }
    let message = format!(
        "a job for the site {} would have variables of {size} bytes; make the packages of the site \
         smaller: at most {MOST_VARIABLES} bytes can be read back from AWX",
        change.site
    );
    Err(Error::bad("packages", message))
}

/// Whether a job with this status has ended.
fn is_final(status: &str) -> bool {
    matches!(status, "successful" | "failed" | "error" | "canceled")
}

/// The last non-empty lines of a text, for people to read.
pub(crate) fn tail(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().rev().map(str::trim_end).collect();
    lines.retain(|line| !line.is_empty());
    lines.truncate(LAST_LINES);
    lines.reverse();
    let text = lines.join("\n");
    let clean: String = text
        .chars()
        .filter(|c| *c == '\n' || !c.is_control())
        .collect();
    let skipped = clean.chars().count().saturating_sub(MOST_CHARACTERS);
    clean.chars().skip(skipped).collect()
}

/// Parses extra variables, which AWX returns as a string that contains JSON.
fn variables_of(value: &Value) -> Map<String, Value> {
    match value {
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        Value::Object(map) => map.clone(),
        _ => Map::new(),
    }
}

/// Cancels a job whose call ends before it does.
struct CancelJobOnDrop {
    job: Option<(Job, AwxClient)>,
}

impl Drop for CancelJobOnDrop {
    fn drop(&mut self) {
        let Some((job, client)) = self.job.take() else {
            return;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { job.cancel(&client).await });
        }
    }
}
