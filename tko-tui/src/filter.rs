//! [`ScreenFilter`]: the filters of the command line, as one line of text.

use tko_core::metadata::RESERVED;
use tko_core::pattern::PatternError;
use tko_core::resource::Gvk;
use tko_core::select::MetadataPatterns;
use tko_core::view::DeploymentState;
use tko_core::{DeploymentId, Entity, Error, Kind, Pattern, Result, Select};

/// Longest filter line, in bytes.
pub(crate) const MAX_LINE: usize = 4_096;

/// The rows that a list shows.
#[derive(Clone, Debug)]
pub(crate) struct ScreenFilter {
    /// The selection that the API evaluates.
    pub(crate) select: Select,
    /// The state, which the API cannot select.
    pub(crate) state: Option<DeploymentState>,
}

impl ScreenFilter {
    /// Everything of a kind.
    pub(crate) fn all(kind: Kind) -> Self {
        Self {
            select: Select::all(kind),
            state: None,
        }
    }

    /// Parses a line, such as `--state failing --template-id 'nf/*'`. A word alone is a pattern
    /// for the id.
    ///
    /// # Errors
    /// `BadArgument`: a filter is unknown, is malformed, or does not fit the kind.
    pub(crate) fn parse(kind: Kind, line: &str) -> Result<Self> {
        if line.len() > MAX_LINE {
            let message = format!("is longer than {MAX_LINE} bytes");
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
            ("state", Kind::Deployment) => self.state = Some(need()?.parse()?),
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
    pub(crate) fn narrowed(&self) -> Select {
        let mut select = self.select.clone();
        match self.state {
            Some(DeploymentState::Approved | DeploymentState::Scheduled) => {
                select.approved.get_or_insert(true);
            }
            Some(DeploymentState::Waiting) => {
                select.prepared.get_or_insert(true);
                select.approved.get_or_insert(false);
            }
            Some(DeploymentState::Unprepared) => {
                select.prepared.get_or_insert(false);
            }
            Some(DeploymentState::Deleting) => select.deleting = true,
            Some(DeploymentState::Failing) | None => {}
        }
        select
    }

    /// Whether the state of a row is the wanted one.
    pub(crate) fn has_state(&self, entity: &Entity) -> bool {
        self.state
            .is_none_or(|state| DeploymentState::of(entity) == Some(state))
    }

    /// Whether a row belongs to the list; `None` if the row alone cannot tell.
    pub(crate) fn matches(&self, entity: &Entity) -> Option<bool> {
        if !self.narrowed().matches(entity) || !self.has_state(entity) {
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
pub(crate) fn known(kind: Kind) -> &'static str {
    match kind {
        Kind::Template => "--id PATTERN, --metadata KEY=PATTERN",
        Kind::Site => "--id PATTERN, --metadata KEY=PATTERN, --template-id PATTERN",
        Kind::Deployment => {
            "--id, --template-id or --site-id PATTERN, --metadata, --template-metadata or \
             --site-metadata KEY=PATTERN, --parent ID, --prepared, --approved, --state STATE"
        }
        Kind::Plugin => {
            "--type TYPE, --name PATTERN, --executor NAME, --trigger GROUP,VERSION,KIND"
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

#[cfg(test)]
mod tests {
    use super::ScreenFilter;
    use tko_core::Kind;
    use tko_core::view::DeploymentState;

    #[test]
    fn a_line_is_read_as_the_command_line_is() {
        let line =
            "--state failing --template-id 'nf/amf:*' --prepared --approved=false 'a*' -m k=v";
        let filter = ScreenFilter::parse(Kind::Deployment, line).expect("filters");
        assert_eq!(filter.state, Some(DeploymentState::Failing));
        let select = &filter.select;
        assert_eq!(select.template_ids[0].as_str(), "nf/amf:*");
        assert_eq!(
            (select.prepared, select.approved),
            (Some(true), Some(false))
        );
        assert_eq!(select.ids[0].as_str(), "a*");
        assert!(select.metadata.contains_key("k"));
        let split = ScreenFilter::parse(Kind::Deployment, "--prepared false").expect("filters");
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
            assert!(
                ScreenFilter::parse(Kind::Deployment, line).is_err(),
                "{line}"
            );
        }
        assert!(ScreenFilter::parse(Kind::Site, "--state failing").is_err());
        assert!(ScreenFilter::parse(Kind::Site, &"a".repeat(5_000)).is_err());
    }
}
