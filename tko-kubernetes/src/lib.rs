#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod apply;
mod applyset;
mod client;
mod clusters;
mod conditions;
mod desired;
mod drift;
mod failure;
mod health;
mod infrastructure;
mod inventory;
mod kinds;
mod kubeconfig;
mod kubeconfigs;
mod limit;
mod memory;
mod metrics;
mod ownership;
mod pod;
mod prune;
mod scheduler;
mod settings;
mod target;
mod watch;

pub use self::drift::DriftSink;
pub use self::kubeconfigs::{FoundKubeconfig, Kubeconfigs};
pub use self::metrics::{ClusterCounters, ClusterTotals};
pub use self::pod::{PodCommand, PodExecutor, PodFailure, PodProgram};
pub use self::scheduler::KubernetesScheduler;
pub use self::settings::KubernetesSettings;
