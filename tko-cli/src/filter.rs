//! The flags that filter listings, purges and approvals.

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use std::collections::BTreeMap;
use tko_core::select::MetadataPatterns;
use tko_core::view::DeploymentState;
use tko_core::{DeploymentId, Gvk, Kind, Pattern, PluginType, Result, Select};

/// The flags that choose a part of a listing.
#[derive(Debug, Args)]
pub(crate) struct WindowArgs {
    /// Skip this many results
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub(crate) offset: u64,
    /// Show at most this many results; 0 shows all
    #[arg(
        long,
        default_value_t = 100,
        value_name = "COUNT",
        allow_negative_numbers = true
    )]
    pub(crate) max_count: i64,
    /// Allow a stale read from a replica; the revision it shows is printed
    #[arg(long)]
    pub(crate) allow_stale: bool,
}

/// The flags that choose a part of a listing of anything but deployments.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) window: WindowArgs,
    /// Filter by state; reads every entity that the other filters match
    #[arg(long, value_name = "STATE", value_enum)]
    state: Option<EntityState>,
}

/// A state of anything but deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum EntityState {
    /// A condition says what fails
    Failing,
    /// Being deleted: hidden from other lists until its scheduler is done
    Deleting,
}

/// The flags that choose a part of a listing of deployments.
#[derive(Debug, Args)]
pub(crate) struct DeploymentListArgs {
    #[command(flatten)]
    pub(crate) window: WindowArgs,
    /// Filter by state; reads every entity that the other filters match
    #[arg(long, value_name = "STATE", value_parser = deployment_state())]
    state: Option<DeploymentState>,
}

fn deployment_state() -> impl TypedValueParser<Value = DeploymentState> {
    let value =
        |state: DeploymentState| PossibleValue::new(state.as_str()).help(state.description());
    PossibleValuesParser::new(DeploymentState::ALL.map(value))
        .try_map(|word| word.parse::<DeploymentState>())
}

impl ListArgs {
    pub(crate) fn state(&self) -> Option<DeploymentState> {
        self.state.map(|state| match state {
            EntityState::Failing => DeploymentState::Failing,
            EntityState::Deleting => DeploymentState::Deleting,
        })
    }
}

impl DeploymentListArgs {
    pub(crate) fn state(&self) -> Option<DeploymentState> {
        self.state
    }
}

/// Refuses to change every entity of a kind, unless the user asks for it explicitly.
pub(crate) fn require_choice(select: &Select, all: bool) -> Result<()> {
    if all || select.has_filter() {
        return Ok(());
    }
    Err(tko_core::Error::bad(
        "--all",
        format!(
            "no filter is given, so this would concern every {}; add a filter, or --all",
            select.kind
        ),
    ))
}

/// Refuses empty filters, which result from unset shell variables. They would select everything.
fn refuse_empty<'a>(filters: impl IntoIterator<Item = (&'static str, Vec<&'a str>)>) -> Result<()> {
    for (flag, texts) in filters {
        if texts.iter().any(|text| text.is_empty()) {
            let why = "is empty; name what to select, or leave the flag out";
            return Err(tko_core::Error::bad(flag, why));
        }
    }
    Ok(())
}

fn texts(patterns: &[String]) -> Vec<&str> {
    patterns.iter().map(String::as_str).collect()
}

/// The empty text if the filter allows any state.
fn unset(choice: Option<StateChoice>) -> Vec<&'static str> {
    match choice {
        Some(StateChoice::Any) => vec![""],
        Some(StateChoice::Is(_)) | None => Vec::new(),
    }
}

fn values(pairs: &[(String, String)]) -> Vec<&str> {
    pairs.iter().map(|(_, value)| value.as_str()).collect()
}

impl WindowArgs {
    /// Maximum number of results to show.
    pub(crate) fn limit(&self) -> usize {
        match usize::try_from(self.max_count) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(count) => count,
        }
    }
}

/// The filters for templates.
#[derive(Debug, Args)]
pub(crate) struct TemplateFilter {
    /// Filter by id: * matches within a segment, ** also across / and :
    #[arg(long, value_name = "PATTERN")]
    id: Vec<String>,
    /// Filter by metadata, KEY=PATTERN (* matches anything); repeat to require several
    #[arg(short, long, value_name = "KEY=PATTERN", value_parser = pair, value_delimiter = ',')]
    metadata: Vec<(String, String)>,
}

impl TemplateFilter {
    /// The selection that these flags make.
    pub(crate) fn select(&self) -> Result<Select> {
        Ok(Select::all(Kind::Template)
            .ids(ids(&self.id)?)
            .metadata_patterns(metadata(&self.metadata)?))
    }
}

impl TemplateFilter {
    /// The selection for a change: no filter may be empty.
    pub(crate) fn select_to_change(&self) -> Result<Select> {
        refuse_empty([
            ("--id", texts(&self.id)),
            ("--metadata", values(&self.metadata)),
        ])?;
        self.select()
    }
}

/// The filters for sites.
#[derive(Debug, Args)]
pub(crate) struct SiteFilter {
    #[command(flatten)]
    own: TemplateFilter,
    /// Filter by template id: * matches within a segment, ** also across / and :
    #[arg(long, value_name = "PATTERN")]
    template_id: Vec<String>,
}

impl SiteFilter {
    /// The selection that these flags make.
    pub(crate) fn select(&self) -> Result<Select> {
        let mut select = self.own.select()?;
        select.kind = Kind::Site;
        select.template_ids = ids(&self.template_id)?;
        Ok(select)
    }
}

impl SiteFilter {
    /// The selection for a change: no filter may be empty.
    pub(crate) fn select_to_change(&self) -> Result<Select> {
        self.own.select_to_change()?;
        refuse_empty([("--template-id", texts(&self.template_id))])?;
        self.select()
    }
}

/// The filters for deployments.
#[derive(Debug, Args)]
pub(crate) struct DeploymentFilter {
    /// Filter by parent deployment
    #[arg(long, value_name = "ID")]
    parent: Option<String>,
    /// Filter by metadata, KEY=PATTERN (* matches anything); repeat to require several
    #[arg(short, long, value_name = "KEY=PATTERN", value_parser = pair, value_delimiter = ',')]
    metadata: Vec<(String, String)>,
    /// Filter by template id: * matches within a segment, ** also across / and :
    #[arg(long, value_name = "PATTERN")]
    template_id: Vec<String>,
    /// Filter by the template's metadata, KEY=PATTERN
    #[arg(long, value_name = "KEY=PATTERN", value_parser = pair, value_delimiter = ',')]
    template_metadata: Vec<(String, String)>,
    /// Filter by site id, with the same patterns
    #[arg(long, value_name = "PATTERN")]
    site_id: Vec<String>,
    /// Filter by the site's metadata, KEY=PATTERN
    #[arg(long, value_name = "KEY=PATTERN", value_parser = pair, value_delimiter = ',')]
    site_metadata: Vec<(String, String)>,
    /// Filter by whether it is prepared: true, false, or empty for any; without a value: true
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    prepared: Option<StateChoice>,
    /// Filter by whether it is approved: true, false, or empty for any; without a value: true
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    approved: Option<StateChoice>,
}

/// A state that a filter asks for.
#[derive(Clone, Copy, Debug)]
enum StateChoice {
    Any,
    Is(bool),
}

impl StateChoice {
    fn wanted(self) -> Option<bool> {
        match self {
            Self::Any => None,
            Self::Is(state) => Some(state),
        }
    }
}

impl std::str::FromStr for StateChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Ok(Self::Any),
            "true" => Ok(Self::Is(true)),
            "false" => Ok(Self::Is(false)),
            other => Err(format!(
                "expected true, false, or empty for any, got {other:?}"
            )),
        }
    }
}

impl DeploymentFilter {
    /// The selection that these flags make.
    pub(crate) fn select(&self) -> Result<Select> {
        let parent = self.parent.as_deref().filter(|id| !id.is_empty());
        Ok(Select::all(Kind::Deployment)
            .parent(parent.map(DeploymentId::new).transpose()?)
            .metadata_patterns(metadata(&self.metadata)?)
            .template_ids(ids(&self.template_id)?)
            .template_metadata_patterns(metadata(&self.template_metadata)?)
            .site_ids(ids(&self.site_id)?)
            .site_metadata_patterns(metadata(&self.site_metadata)?)
            .prepared(self.prepared.and_then(StateChoice::wanted))
            .approved(self.approved.and_then(StateChoice::wanted)))
    }
}

impl DeploymentFilter {
    /// The selection for a change: no filter may be empty.
    pub(crate) fn select_to_change(&self) -> Result<Select> {
        refuse_empty([
            ("--parent", self.parent.as_deref().into_iter().collect()),
            ("--metadata", values(&self.metadata)),
            ("--template-id", texts(&self.template_id)),
            ("--template-metadata", values(&self.template_metadata)),
            ("--site-id", texts(&self.site_id)),
            ("--site-metadata", values(&self.site_metadata)),
            ("--prepared", unset(self.prepared)),
            ("--approved", unset(self.approved)),
        ])?;
        self.select()
    }
}

/// The filters for plugins.
#[derive(Debug, Args)]
pub(crate) struct PluginFilter {
    /// Filter by type: validate, prepare, schedule, catalog or inventory
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    plugin_type: Option<PluginType>,
    /// Filter by name: * matches within a segment, ** also across / and :
    #[arg(short, long, value_name = "PATTERN")]
    name: Vec<String>,
    /// Filter by executor
    #[arg(short, long, value_name = "EXECUTOR")]
    executor: Option<String>,
    /// Filter by trigger
    #[arg(short = 'g', long, value_name = "GROUP,VERSION,KIND", value_parser = gvk)]
    trigger: Option<Gvk>,
}

impl PluginFilter {
    /// The selection that these flags make.
    pub(crate) fn select(&self) -> Result<Select> {
        Ok(Select::all(Kind::Plugin)
            .plugin_type(self.plugin_type)
            .ids(ids(&self.name)?)
            .executor(self.executor.clone().filter(|name| !name.is_empty()))
            .trigger(self.trigger.clone()))
    }
}

impl PluginFilter {
    /// The selection for a change: no filter may be empty.
    pub(crate) fn select_to_change(&self) -> Result<Select> {
        refuse_empty([
            ("--name", texts(&self.name)),
            ("--executor", self.executor.as_deref().into_iter().collect()),
        ])?;
        self.select()
    }
}

fn ids(patterns: &[String]) -> Result<Vec<Pattern>> {
    patterns
        .iter()
        .filter(|text| !text.is_empty())
        .map(|text| Pattern::id(text).map_err(|error| bad_pattern(&error)))
        .collect()
}

fn metadata(pairs: &[(String, String)]) -> Result<MetadataPatterns> {
    let mut patterns = BTreeMap::new();
    for (key, text) in pairs {
        if key.starts_with(tko_core::metadata::RESERVED) {
            let internal = format!("key {key:?} is internal to TKO and cannot be selected");
            return Err(tko_core::Error::bad("metadata pattern", internal));
        }
        if key.ends_with('!') {
            let why = format!(
                "{key}={text} looks like \"not equal\", which filters cannot say; KEY=PATTERN \
                 selects what matches"
            );
            return Err(tko_core::Error::bad("metadata pattern", why));
        }
        let pattern = Pattern::value(text).map_err(|error| bad_pattern(&error))?;
        if patterns.insert(key.clone(), pattern).is_some() {
            let twice = format!("key {key:?} is given twice; give it one pattern");
            return Err(tko_core::Error::bad("metadata pattern", twice));
        }
    }
    Ok(patterns)
}

fn bad_pattern(error: &tko_core::pattern::PatternError) -> tko_core::Error {
    tko_core::Error::bad("pattern", error.to_string())
}

/// Parses `KEY=VALUE`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("expected KEY=VALUE, got {text:?}")),
    }
}

/// Parses `GROUP,VERSION,KIND`, where the group may be empty.
pub(crate) fn gvk(text: &str) -> Result<Gvk, String> {
    let parts: Vec<&str> = text.split(',').collect();
    let [group, version, kind] = parts[..] else {
        return Err(format!("expected GROUP,VERSION,KIND, got {text:?}"));
    };
    let gvk = Gvk::new(group, version, kind);
    gvk.check_trigger().map_err(|error| error.to_string())?;
    Ok(gvk)
}
