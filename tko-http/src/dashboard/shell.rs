//! [`Shell`], which every page shows around its content, and [`Rights`].

use super::assets::{SCRIPT, STYLE};
use super::html::{number, short};
use crate::context::{ApiCaller, SharedContext};
use tko_core::role::permission;
use tko_core::{Caller, Kind, Result, Timestamp};

/// The permissions of a caller. They decide which buttons a page has; the API itself makes the
/// final decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    /// Deployments: create, modify, approve, delete.
    pub(super) deployments: bool,
    /// Templates, sites and plugins.
    pub(super) design: bool,
}

impl Rights {
    pub(super) fn of(caller: &Caller) -> Self {
        // A role that is restricted to some entities shows the buttons, too.
        let may = |call, kind| {
            let roles = permission(call, Some(kind)).map_or(&[][..], |row| row.roles);
            let mut granted = caller.grants().map(|(name, _)| name);
            granted.any(|name| roles.iter().any(|role| role.name() == name))
        };
        Self {
            deployments: may("delete", Kind::Deployment),
            design: may("delete", Kind::Site),
        }
    }

    pub(super) fn may_change(self, kind: Kind) -> bool {
        match kind {
            Kind::Deployment => self.deployments,
            Kind::Template | Kind::Site | Kind::Plugin => self.design,
        }
    }
}

/// A message above a page.
pub(super) struct Notice {
    pub(super) text: String,
    pub(super) bad: bool,
}

/// The parts of a page around its content.
pub(super) struct Shell {
    pub(super) title: String,
    pub(super) scope: String,
    pub(super) instance: String,
    pub(super) caller: String,
    pub(super) signed_in: bool,
    pub(super) insecure: bool,
    pub(super) revision: String,
    pub(super) now_ms: i64,
    pub(super) notice: Option<Notice>,
    pub(super) now: Timestamp,
    pub(super) rights: Rights,
    active: &'static str,
    counts: [String; 4],
}

/// A link of the navigation.
pub(super) struct NavigationItem {
    pub(super) head: &'static str,
    pub(super) href: &'static str,
    pub(super) label: &'static str,
    pub(super) key: &'static str,
    pub(super) count: String,
    pub(super) active: bool,
}

impl Shell {
    /// The frame of a page that follows the events of `scope`.
    pub(super) async fn new(
        context: &SharedContext,
        caller: &ApiCaller,
        title: impl Into<String>,
        active: &'static str,
        scope: impl Into<String>,
    ) -> Result<Self> {
        let about = caller.api.about().await?;
        let position = caller.api.feed_position().await?;
        let settings = &context.settings;
        let version = env!("CARGO_PKG_VERSION");
        Ok(Self {
            title: title.into(),
            scope: scope.into(),
            instance: format!("{} · {version} · {}", settings.name, about.backend),
            caller: caller.caller.name().to_owned(),
            signed_in: !context.authentication.admits_anyone(),
            insecure: context.reports_insecure(),
            revision: number(position.revision.0),
            now_ms: position.now.0 / 1_000,
            notice: None,
            now: position.now,
            rights: Rights::of(&caller.caller),
            active,
            counts: counts(context, !caller.reads_all()),
        })
    }

    #[allow(clippy::unused_self)] // Templates call methods.
    pub(super) fn style(&self) -> &'static str {
        &STYLE.url
    }

    #[allow(clippy::unused_self)] // Templates call methods.
    pub(super) fn script(&self) -> &'static str {
        &SCRIPT.url
    }

    pub(super) fn navigation(&self) -> Vec<NavigationItem> {
        [
            ("", "/", "Overview", ""),
            ("Running", "/deployments", "Deployments", "deployments"),
            ("", "/sites", "Sites", "sites"),
            ("Design", "/templates", "Templates", "templates"),
            ("", "/plugins", "Plugins", "plugins"),
            ("Instance", "/activity", "Activity", ""),
            ("", "/about", "About", ""),
        ]
        .into_iter()
        .map(|(head, href, label, key)| NavigationItem {
            head,
            href,
            label,
            key,
            count: match key {
                "deployments" => self.counts[0].clone(),
                "sites" => self.counts[1].clone(),
                "templates" => self.counts[2].clone(),
                "plugins" => self.counts[3].clone(),
                _ => String::new(),
            },
            active: self.active == href,
        })
        .collect()
    }
}

/// The numbers of the navigation: deployments, sites, templates, plugins. Empty for a caller who
/// may read only some entities.
pub(super) fn counts(context: &SharedContext, is_restricted: bool) -> [String; 4] {
    if is_restricted {
        return Default::default();
    }
    let tally = context.feeds.tally();
    [Kind::Deployment, Kind::Site, Kind::Template, Kind::Plugin]
        .map(|kind| short(tally.total(kind)))
}
