#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept;
mod access;
mod authenticate;
mod bearer_tokens;
#[cfg(feature = "http")]
mod browser;
#[cfg(feature = "http")]
mod budgeted_body;
mod byte_budget;
mod callers;
mod certificate;
mod client_certificates;
mod client_roots;
mod connection;
mod credentials;
mod file;
mod heavy_work;
#[cfg(feature = "http")]
mod http;
mod listen;
mod refusals;
mod reload;
mod tls;
mod token;
mod unauthenticated;

pub use accept::{AcceptSettings, accept};
pub use access::Access;
pub use async_trait::async_trait;
pub use authenticate::{AUTHENTICATION_TIMEOUT, Anyone, Authenticate, FirstOf, authenticate};
pub use bearer_tokens::BearerTokens;
#[cfg(feature = "http")]
pub use browser::{BrowserRefusal, check_browser};
#[cfg(feature = "http")]
pub use budgeted_body::{BudgetExhausted, BudgetedBody, RequestBytes};
pub use byte_budget::{ByteBudget, ByteGrant, FRAME_BYTES};
pub use callers::{CallerFile, caller_line};
pub use certificate::CertificateSubject;
pub use client_certificates::ClientCertificates;
pub use client_roots::ClientRoots;
pub use connection::{Connection, Peer};
pub use credentials::Credentials;
pub use heavy_work::{HeavyWork, package_weight};
#[cfg(feature = "http")]
pub use http::{HttpSettings, IDLE_TIMEOUT, drain, each_connection, serve_http};
pub use listen::{Listen, Sockets, Stack};
pub use refusals::refused_credentials;
pub use tls::ServerTls;
pub use token::new_token;
