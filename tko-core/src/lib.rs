#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod annotation;
pub mod backend;
pub mod change;
pub mod clock;
pub mod data;
pub mod due;
pub mod encoding;
pub mod entity;
pub mod error;
pub mod feed;
pub mod hash;
pub mod head;
pub mod id;
pub mod interest;
pub mod lease;
pub mod merge;
pub mod metadata;
pub mod package;
pub mod part;
pub mod pattern;
pub mod registry;
pub mod resource;
pub mod revision;
pub mod select;
pub mod store;
#[cfg(feature = "system")]
pub mod system;
pub mod work;

pub use backend::Backend;
pub use change::{
    Ack, Change, ChangeRecord, ChangeSet, Committed, Edit, MAX_CHANGES, Put, Require,
};
pub use clock::{Clock, Ids};
pub use data::{
    Bulk, Controller, Data, Effect, Event, Expect, NewDeployment, NewPlugin, NewSite, NewTemplate,
    Placed, Prepared, Watch,
};
pub use encoding::{Dialect, Format, Limits};
pub use entity::{Condition, Deployment, Entity, Facts, Plugin, Record, Want};
pub use error::{BoxError, Error, ErrorKind, Result, Subject, Violation};
pub use hash::ContentHash;
pub use id::{DeploymentId, Key, Kind, PluginId, PluginType, SiteId, TemplateId};
pub use interest::Interest;
pub use metadata::Metadata;
pub use package::Package;
pub use part::{
    Admission, Answer, Executor, PrepareCall, Preparer, ScheduleCall, Scheduler, Validator,
};
pub use pattern::Pattern;
pub use registry::Registry;
pub use resource::{Gvk, Identifier, Resource};
pub use revision::{Generation, Revision, Timestamp, Version};
pub use select::{Count, Cursor, List, Page, Select};
pub use store::Store;
pub use work::{Claim, ClaimRequest, Lane, Mark, Outcome, Stage, Token, Work};
