#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod annotation;
pub mod api;
mod approved_package;
pub mod backend;
pub mod backup;
mod builder;
pub mod caller;
pub mod change;
pub mod clock;
pub mod cluster_scope;
pub mod codec;
pub mod commit;
pub mod deployment_resource;
#[cfg(feature = "diff")]
pub mod diff;
pub mod encoding;
pub mod entity;
pub mod error;
pub mod feed;
pub mod handler;
pub mod hash;
pub mod id;
pub mod kubernetes_name;
pub mod limits;
pub mod merge;
pub mod metadata;
pub mod package;
pub mod pattern;
pub mod registry;
pub mod resource;
pub mod retry;
pub mod revision;
pub mod role;
pub mod scope;
pub mod select;
pub mod shared_value;
pub mod site_scheduler;
pub mod store;
pub mod subscription;
#[cfg(feature = "system")]
pub mod system;
pub mod triggers;
pub mod view;
pub mod work;

pub use api::{
    ApiCall, Bulk, CallKind, DataApi, Effect, EntityUpdate, Event, Expect, Guard, Guarded,
    NewDeployment, NewPlugin, NewSite, NewTemplate, PackageUpdate, PrepareStep, ScheduleStep,
    Watch, WorkerApi,
};
pub use async_trait::async_trait;
pub use backend::Backend;
pub use caller::{Caller, Cause};
pub use change::{
    Ack, Change, ChangeRecord, ChangeSet, Committed, MAX_CHANGES, Modification, Put, Require,
};
pub use clock::{Clock, Ids};
pub use encoding::{Dialect, Format, Limits};
pub use entity::{Condition, Deployment, Entity, Facts, Plugin, Record, Want};
pub use error::{BoxError, Error, ErrorKind, Result, Subject, Violation};
pub use futures_core::future::BoxFuture;
pub use futures_core::stream::BoxStream;
pub use handler::{
    Admission, Answer, Executor, PrepareCall, Preparer, ScheduleCall, ScheduleReports, Scheduler,
    Validator,
};
pub use hash::ContentHash;
pub use id::{DeploymentId, Key, Kind, PluginId, PluginType, SiteId, TemplateId};
pub use metadata::Metadata;
pub use package::{Package, PackageIndex, ResourceDifference};
pub use pattern::Pattern;
pub use registry::Registry;
pub use resource::{Gvk, Identifier, Resource};
pub use revision::{Generation, Revision, Timestamp, Version};
pub use role::{CallerRole, RoleGuard};
pub use scope::Scope;
pub use select::{Count, Cursor, List, Page, Select};
pub use shared_value::{MAX_SHARED, SharedLimits};
pub use site_scheduler::SiteScheduler;
pub use store::Store;
pub use subscription::Subscription;
pub use work::{Claim, ClaimRequest, Enqueue, Lane, Outcome, Stage, Token, Work};
