//! [`ApiRequest`]: one request with its caller, target and parameters.

use crate::accept::{Representation, Serves, negotiate};
use crate::delegation::DelegatedUser;
use crate::failure::KrmAnswer;
use crate::query::Query;
use crate::route::RouteTarget;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{ACCEPT, USER_AGENT};
use std::sync::Arc;
use tko_core::{Caller, DataApi};

/// A request that is authenticated and has a target.
pub(crate) struct ApiRequest {
    pub(crate) headers: HeaderMap,
    pub(crate) query: Query,
    /// The body; empty for reads.
    pub(crate) body: Bytes,
    pub(crate) caller: Caller,
    /// The user of the cluster in front of the server, if there is one.
    pub(crate) delegated: Option<DelegatedUser>,
    /// The API on behalf of the caller.
    pub(crate) data: Arc<dyn DataApi>,
}

impl ApiRequest {
    /// The representation that the client asks for.
    pub(crate) fn representation(&self, serves: Serves) -> KrmAnswer<Representation> {
        negotiate(self.header(&ACCEPT), serves)
    }

    /// Asks the cluster in front of the server, if there is one, for another permission of the user.
    pub(crate) async fn authorize(
        &self,
        target: &RouteTarget,
        verb: &'static str,
    ) -> KrmAnswer<()> {
        match &self.delegated {
            Some(user) => user.authorize(target, verb).await,
            None => Ok(()),
        }
    }

    /// A header, if it is text.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The name of the client program: the user agent up to its version.
    pub(crate) fn user_agent(&self) -> &str {
        let agent = self.header(&USER_AGENT).unwrap_or_default();
        agent.split('/').next().unwrap_or_default()
    }
}
