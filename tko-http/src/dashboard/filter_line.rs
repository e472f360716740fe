//! The filter line of lists: the filters of the command line, as one line of text.

use crate::query::ApiQuery;
use tko_core::view::DeploymentState;
use tko_core::{Error, Kind, Result, Select};

/// Longest filter line, in bytes.
const MAX_LINE: usize = 4_096;

/// What a filter line selects.
#[derive(Clone, Debug)]
pub(super) struct LineFilter {
    pub(super) select: Select,
    pub(super) state: Option<DeploymentState>,
    /// A part of the words of the condition that says what is in the way.
    pub(super) reason: Option<String>,
}

impl LineFilter {
    /// Everything of a kind.
    pub(super) fn all(kind: Kind) -> Self {
        Self {
            select: Select::all(kind),
            state: None,
            reason: None,
        }
    }

    /// Parses a line, such as `--state failing --template-id 'nf/*'`. A word alone is a pattern for
    /// the id.
    ///
    /// # Errors
    /// [`BadArgument`](Error::BadArgument): a filter is unknown or malformed, or a quote is open.
    pub(super) fn parse(kind: Kind, line: &str) -> Result<Self> {
        if line.len() > MAX_LINE {
            return Err(Error::bad(
                "filter",
                format!("is longer than {MAX_LINE} bytes"),
            ));
        }
        let mut query = ApiQuery::from_pairs(pairs(kind, &words(line)?)?);
        let select = query.select(kind)?;
        let (state, reason) = match kind {
            Kind::Deployment => (query.state()?, query.text("reason")?),
            _ => (None, None),
        };
        query.end().map_err(|error| match error {
            Error::BadArgument { .. } => Error::bad("filter", format!("expected {}", known(kind))),
            error => error,
        })?;
        Ok(Self {
            select,
            state,
            reason,
        })
    }

    /// Whether only a part of the selection is meant, which the API cannot select.
    pub(super) fn is_scanned(&self) -> bool {
        self.state.is_some() || self.reason.is_some()
    }
}

fn known(kind: Kind) -> &'static str {
    match kind {
        Kind::Template => "--id PATTERN, --metadata KEY=PATTERN",
        Kind::Site => "--id PATTERN, --metadata KEY=PATTERN, --template-id PATTERN",
        Kind::Deployment => {
            "--id, --template-id or --site-id PATTERN, --metadata, --template-metadata or \
             --site-metadata KEY=PATTERN, --parent ID, --prepared, --approved, --state STATE, \
             --reason TEXT"
        }
        Kind::Plugin => {
            "--type TYPE, --name PATTERN, --executor NAME, --trigger GROUP,VERSION,KIND"
        }
    }
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

/// Turns words into names and values.
fn pairs(kind: Kind, words: &[String]) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = words.iter().peekable();
    while let Some(word) = rest.next() {
        let Some(flag) = word.strip_prefix("--") else {
            let id = if kind == Kind::Plugin { "name" } else { "id" };
            pairs.push((id.to_owned(), word.clone()));
            continue;
        };
        if let Some((name, value)) = flag.split_once('=') {
            pairs.push((name.to_owned(), value.to_owned()));
        } else if matches!(flag, "prepared" | "approved") {
            pairs.push((flag.to_owned(), "true".to_owned()));
        } else {
            let value = rest.next_if(|next| !next.starts_with("--"));
            let value =
                value.ok_or_else(|| Error::bad("filter", format!("--{flag} needs a value")))?;
            pairs.push((flag.to_owned(), value.clone()));
        }
    }
    Ok(pairs)
}

/// Quotes a value for a filter line, if it needs quotes.
pub(super) fn quoted(value: &str) -> String {
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
    use super::{LineFilter, quoted, words};
    use tko_core::Kind;
    use tko_core::view::DeploymentState;

    #[test]
    fn a_line_is_read_as_the_command_line_is() {
        let line = "--state failing --template-id 'nf/amf:*' --prepared --approved=false 'a*'";
        let filter = LineFilter::parse(Kind::Deployment, line).expect("filters");
        assert_eq!(filter.state, Some(DeploymentState::Failing));
        assert_eq!(filter.select.template_ids[0].as_str(), "nf/amf:*");
        let select = &filter.select;
        assert_eq!(
            (select.prepared, select.approved),
            (Some(true), Some(false))
        );
        assert_eq!(select.ids[0].as_str(), "a*");
        assert!(LineFilter::parse(Kind::Site, "").is_ok());
    }

    #[test]
    fn what_is_wrong_is_said() {
        for line in [
            "--colour red",
            "--state red",
            "'open",
            "--state",
            "--metadata x",
            "--parent a/b",
        ] {
            assert!(LineFilter::parse(Kind::Deployment, line).is_err(), "{line}");
        }
        assert!(LineFilter::parse(Kind::Site, "--state failing").is_err());
        assert!(LineFilter::parse(Kind::Site, &"a".repeat(5_000)).is_err());
    }

    #[test]
    fn quoted_values_are_read_back() {
        for value in ["a", "", "a b", "it's", "\"x\" 'y'", "--flag", "a\tb"] {
            assert_eq!(words(&quoted(value)).expect("closed"), [value]);
        }
    }
}
