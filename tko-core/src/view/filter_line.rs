//! [`FilterLine`]: the filters of the command line, as one line of text, for dashboards.

use super::state::{DeploymentState, obstacle};
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::id::{DeploymentId, Kind};
use crate::metadata::RESERVED;
use crate::pattern::{Pattern, PatternError};
use crate::resource::Gvk;
use crate::select::{MetadataPatterns, Select};

/// Longest filter line, in bytes.
pub const MAX_FILTER_LINE: usize = 4_096;

/// The rows of a list that a line of text selects.
///
/// ```
/// use tko_core::Kind;
/// use tko_core::view::{DeploymentState, FilterLine};
///
/// let filter = FilterLine::parse(Kind::Deployment, "--state failing --template-id 'nf/*'")?;
/// assert_eq!(filter.state, Some(DeploymentState::Failing));
/// assert_eq!(filter.select.template_ids[0].as_str(), "nf/*");
/// # Ok::<(), tko_core::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FilterLine {
    /// The selection that the API evaluates.
    pub select: Select,
    /// The state, which the API cannot select: one [of the kind](DeploymentState::of_kind).
    pub state: Option<DeploymentState>,
    /// A part of the message of the condition that blocks the deployment, which the API cannot
    /// select either. For deployments only.
    pub reason: Option<String>,
}

impl FilterLine {
    /// Everything of a kind.
    pub fn all(kind: Kind) -> Self {
        Self {
            select: Select::all(kind),
            state: None,
            reason: None,
        }
    }

    /// Parses a line, such as `--state failing --template-id 'nf/*'`. A word alone is a pattern
    /// for the id.
    ///
    /// # Errors
    /// `BadArgument`: a filter is unknown, is malformed, or does not fit the kind.
    pub fn parse(kind: Kind, line: &str) -> Result<Self> {
        if line.len() > MAX_FILTER_LINE {
            let message = format!("is longer than {MAX_FILTER_LINE} bytes");
            return Err(Error::bad("filter", message));
        }
        let mut filter = Self::all(kind);
        let words = words(line)?;
        let mut rest = words.iter().map(String::as_str).peekable();
        while let Some(word) = rest.next() {
            let Some(flag) = flag(word) else {
                filter.select.ids.push(id_pattern(word)?);
                continue;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None if matches!(flag, "prepared" | "approved") => {
                    (flag, rest.next_if(|next| matches!(*next, "true" | "false")))
                }
                None => (flag, rest.next_if(|next| !next.starts_with("--"))),
            };
            filter.set(name, value)?;
        }
        Ok(filter)
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let select = &mut self.select;
        let need = || value.ok_or_else(|| Error::bad("filter", format!("--{name} needs a value")));
        match (name, select.kind) {
            ("prepared", Kind::Deployment) => select.prepared = Some(boolean(name, value)?),
            ("approved", Kind::Deployment) => select.approved = Some(boolean(name, value)?),
            ("state", kind) => self.state = Some(DeploymentState::parse(kind, need()?)?),
            ("reason", Kind::Deployment) => self.reason = Some(need()?.to_owned()),
            ("parent", Kind::Deployment) => select.parent = Some(DeploymentId::new(need()?)?),
            ("site-id", Kind::Deployment) => select.site_ids.push(id_pattern(need()?)?),
            ("template-id", Kind::Deployment | Kind::Site) => {
                select.template_ids.push(id_pattern(need()?)?);
            }
            ("template-metadata", Kind::Deployment) => {
                add_metadata(&mut select.template_metadata, need()?)?;
            }
            ("site-metadata", Kind::Deployment) => {
                add_metadata(&mut select.site_metadata, need()?)?;
            }
            ("id", Kind::Template | Kind::Site | Kind::Deployment) | ("name", Kind::Plugin) => {
                select.ids.push(id_pattern(need()?)?);
            }
            ("metadata", Kind::Template | Kind::Site | Kind::Deployment) => {
                add_metadata(&mut select.metadata, need()?)?;
            }
            ("type", Kind::Plugin) => select.plugin_type = Some(need()?.parse()?),
            ("executor", Kind::Plugin) => select.executor = Some(need()?.to_owned()),
            ("trigger", Kind::Plugin) => select.trigger = Some(trigger(need()?)?),
            (_, kind) => {
                let message = format!("unknown filter --{name}; expected {}", known(kind));
                return Err(Error::bad("filter", message));
            }
        }
        Ok(())
    }

    /// The selection that finds all rows of the wanted state with as few others as possible.
    pub fn narrowed(&self) -> Select {
        let mut select = self.select.clone();
        if let Some(state) = self.state {
            state.narrow(&mut select);
        }
        select
    }

    /// Whether the line selects all entities of its kind.
    pub fn is_everything(&self) -> bool {
        let select = &self.select;
        !self.is_scanned()
            && select.ids.is_empty()
            && select.template_ids.is_empty()
            && select.site_ids.is_empty()
            && select.metadata.is_empty()
            && select.template_metadata.is_empty()
            && select.site_metadata.is_empty()
            && select.parent.is_none()
            && select.prepared.is_none()
            && select.approved.is_none()
            && select.plugin_type.is_none()
            && select.executor.is_none()
            && select.trigger.is_none()
    }

    /// Whether rows must be examined one by one, because the API cannot evaluate all filters.
    pub fn is_scanned(&self) -> bool {
        self.state.is_some() || self.reason.is_some()
    }

    /// Whether a row has the state and the reason that are wanted.
    pub fn fits(&self, entity: &Entity) -> bool {
        let has_state = |state: DeploymentState| state.holds(entity);
        let has_reason = |reason: &String| {
            obstacle(entity).is_some_and(|condition| condition.message.contains(reason.as_str()))
        };
        self.state.is_none_or(has_state) && self.reason.as_ref().is_none_or(has_reason)
    }

    /// Whether a row belongs to the list; `None` if the row alone cannot tell.
    pub fn matches(&self, entity: &Entity) -> Option<bool> {
        if !self.narrowed().matches(entity) || !self.fits(entity) {
            return Some(false);
        }
        self.select.is_watchable().then_some(true)
    }
}

/// The name of a flag; `-m`, `-t`, `-n`, `-e` and `-g` are those of the command line.
fn flag(word: &str) -> Option<&str> {
    Some(match word {
        "-m" => "metadata",
        "-t" => "type",
        "-n" => "name",
        "-e" => "executor",
        "-g" => "trigger",
        word => return word.strip_prefix("--"),
    })
}

/// The filters of a kind, for messages.
fn known(kind: Kind) -> &'static str {
    match kind {
        Kind::Template => "--id PATTERN, --metadata KEY=PATTERN, --state STATE",
        Kind::Site => "--id PATTERN, --metadata KEY=PATTERN, --template-id PATTERN, --state STATE",
        Kind::Deployment => {
            "--id, --template-id or --site-id PATTERN, --metadata, --template-metadata or \
             --site-metadata KEY=PATTERN, --parent ID, --prepared, --approved, --state STATE, --reason \
             TEXT"
        }
        Kind::Plugin => {
            "--type TYPE, --name PATTERN, --executor NAME, --trigger GROUP,VERSION,KIND, --state \
             STATE"
        }
    }
}

fn bad_pattern(error: &PatternError) -> Error {
    Error::bad("pattern", error.to_string())
}

fn id_pattern(text: &str) -> Result<Pattern> {
    Pattern::id(text).map_err(|error| bad_pattern(&error))
}

fn boolean(name: &str, value: Option<&str>) -> Result<bool> {
    match value {
        None | Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => {
            let message = format!("--{name}: expected true or false, got {other:?}");
            Err(Error::bad("filter", message))
        }
    }
}

fn add_metadata(patterns: &mut MetadataPatterns, pairs: &str) -> Result<()> {
    for pair in pairs.split(',') {
        let (key, text) = pair
            .split_once('=')
            .filter(|(key, _)| !key.is_empty())
            .ok_or_else(|| Error::bad("filter", format!("expected KEY=PATTERN, got {pair:?}")))?;
        if key.starts_with(RESERVED) {
            let internal = format!("key {key:?} is internal to TKO and cannot be selected");
            return Err(Error::bad("metadata pattern", internal));
        }
        let pattern = Pattern::value(text).map_err(|error| bad_pattern(&error))?;
        if patterns.insert(key.to_owned(), pattern).is_some() {
            let twice = format!("key {key:?} is given twice; give it one pattern");
            return Err(Error::bad("metadata pattern", twice));
        }
    }
    Ok(())
}

fn trigger(text: &str) -> Result<Gvk> {
    let parts: Vec<&str> = text.split(',').collect();
    let [group, version, kind] = parts[..] else {
        let message = format!("expected GROUP,VERSION,KIND, got {text:?}");
        return Err(Error::bad("trigger", message));
    };
    let gvk = Gvk::new(group, version, kind);
    gvk.check_trigger()?;
    Ok(gvk)
}

/// Splits a line into words, as a shell does: quotes keep spaces together.
fn words(line: &str) -> Result<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in line.chars() {
        match (character, quote) {
            (open @ ('\'' | '"'), None) => {
                quote = Some(open);
                word.get_or_insert_default();
            }
            (close, Some(open)) if close == open => quote = None,
            (space, None) if space.is_whitespace() => words.extend(word.take()),
            (other, _) => word.get_or_insert_default().push(other),
        }
    }
    if quote.is_some() {
        return Err(Error::bad("filter", "a quote is not closed"));
    }
    words.extend(word);
    Ok(words)
}

/// Quotes a value for a filter line, if it needs quotes.
pub fn quoted_filter(value: &str) -> String {
    let is_plain = !value.is_empty()
        && !value.starts_with('-')
        && !value.contains(|c: char| c.is_whitespace() || c == '\'' || c == '"');
    if is_plain {
        return value.to_owned();
    }
    // A quote of one kind within is put into quotes of the other kind.
    let mut quoted = String::from("'");
    for character in value.chars() {
        if character == '\'' {
            quoted.push_str("'\"'\"'");
        } else {
            quoted.push(character);
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::{FilterLine, quoted_filter, words};
    use crate::entity::SCHEDULED;
    use crate::id::Kind;
    use crate::view::DeploymentState;
    use crate::{Condition, Entity, Facts, Generation, Key};

    #[test]
    fn a_line_is_read_as_the_command_line_is() {
        let line =
            "--state failing --template-id 'nf/amf:*' --prepared --approved=false 'a*' -m k=v";
        let filter = FilterLine::parse(Kind::Deployment, line).expect("filters");
        assert_eq!(filter.state, Some(DeploymentState::Failing));
        let select = &filter.select;
        assert_eq!(select.template_ids[0].as_str(), "nf/amf:*");
        assert_eq!(
            (select.prepared, select.approved),
            (Some(true), Some(false))
        );
        assert_eq!(select.ids[0].as_str(), "a*");
        assert!(select.metadata.contains_key("k"));
        let split = FilterLine::parse(Kind::Deployment, "--prepared false").expect("filters");
        assert_eq!(split.select.prepared, Some(false));
    }

    #[test]
    fn wrong_filters_are_refused() {
        for line in [
            "--colour red",
            "--state red",
            "'open",
            "--state",
            "--metadata x",
            "--parent a/b",
            "--prepared=maybe",
            "-m k=v,k=w",
        ] {
            assert!(FilterLine::parse(Kind::Deployment, line).is_err(), "{line}");
        }
        assert!(FilterLine::parse(Kind::Site, "--state waiting").is_err());
        assert!(FilterLine::parse(Kind::Site, "--reason x").is_err());
        assert!(FilterLine::parse(Kind::Site, &"a".repeat(5_000)).is_err());
    }

    #[test]
    fn an_empty_line_is_everything_and_nothing_else_is() {
        for kind in Kind::ALL {
            assert!(
                FilterLine::parse(kind, " ")
                    .expect("no filters")
                    .is_everything()
            );
        }
        for line in [
            "**",
            "--id a",
            "--template-id a",
            "--site-id a",
            "-m k=v",
            "--template-metadata k=v",
            "--site-metadata k=v",
            "--parent 0123456789abcdefghij",
            "--prepared",
            "--approved=false",
            "--state waiting",
            "--reason quota",
        ] {
            let filter = FilterLine::parse(Kind::Deployment, line).expect(line);
            assert!(!filter.is_everything(), "{line}");
        }
        for line in [
            "--type prepare",
            "--executor command",
            "--trigger g,v1,K",
            "a*",
        ] {
            let filter = FilterLine::parse(Kind::Plugin, line).expect(line);
            assert!(!filter.is_everything(), "{line}");
        }
    }

    /// A state adds to what the line says, and never replaces it.
    #[test]
    fn a_state_narrows_and_contradicts_nothing() {
        let line = "--state approved --approved=false";
        let filter = FilterLine::parse(Kind::Deployment, line).expect("filters");
        assert_eq!(filter.narrowed().approved, Some(false));
        let filter = FilterLine::parse(Kind::Deployment, "--state waiting").expect("a filter");
        let select = filter.narrowed();
        assert_eq!(
            (select.prepared, select.approved),
            (Some(true), Some(false))
        );
    }

    #[test]
    fn every_kind_is_filtered_by_state() {
        let line = "--state failing";
        let failed = Condition::new(SCHEDULED, false, "SchedulerFailed", "why", Generation(1));
        for (kind, id) in [
            (Kind::Template, "t"),
            (Kind::Site, "s"),
            (Kind::Plugin, "schedule|p"),
        ] {
            let filter = FilterLine::parse(kind, line).expect("a filter");
            assert!(filter.is_scanned());
            let key = Key::new(kind, id).expect("an id");
            let entity = Entity::new(key, Facts::empty(kind));
            assert_eq!(filter.matches(&entity), Some(false));
            let entity = entity.conditions(vec![failed.clone()]);
            assert_eq!(filter.matches(&entity), Some(true));
        }
    }

    #[test]
    fn quoted_values_are_read_back() {
        for value in ["a", "", "a b", "it's", "\"x\" 'y'", "--flag", "a\tb"] {
            assert_eq!(words(&quoted_filter(value)).expect("closed"), [value]);
        }
    }
}
