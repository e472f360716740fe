//! The messages of `google.rpc` in the details of a status.

use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<prost_types::Any>,
}

impl Status {
    /// The value of `grpc-status-details-bin`.
    pub(crate) fn bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// The first detail of this type.
    pub(crate) fn find<T: StatusDetail>(&self) -> Option<T> {
        let any = self.details.iter().find(|any| {
            any.type_url
                .rsplit_once('/')
                .is_some_and(|(_, name)| name == T::NAME)
        })?;
        T::decode(any.value.as_slice()).ok()
    }
}

/// A message that can be a detail of a status.
pub(crate) trait StatusDetail: Message + Default {
    /// The full name: package and message.
    const NAME: &'static str;

    /// Packs the message as a detail.
    fn any(&self) -> prost_types::Any {
        prost_types::Any {
            type_url: format!("type.googleapis.com/{}", Self::NAME),
            value: self.encode_to_vec(),
        }
    }
}

/// `google.rpc.ErrorInfo`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ErrorInfo {
    #[prost(string, tag = "1")]
    pub(crate) reason: String,
    #[prost(string, tag = "2")]
    pub(crate) domain: String,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(crate) metadata: BTreeMap<String, String>,
}

impl StatusDetail for ErrorInfo {
    const NAME: &'static str = "google.rpc.ErrorInfo";
}

/// `google.rpc.BadRequest`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) field_violations: Vec<FieldViolation>,
}

impl StatusDetail for BadRequest {
    const NAME: &'static str = "google.rpc.BadRequest";
}

/// `google.rpc.BadRequest.FieldViolation`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FieldViolation {
    #[prost(string, tag = "1")]
    pub(crate) field: String,
    #[prost(string, tag = "2")]
    pub(crate) description: String,
}

impl StatusDetail for crate::proto::v1alpha2::Error {
    const NAME: &'static str = "tko.v1alpha2.Error";
}
