//! Lists without a limit, which are written page by page.

use super::{ListedForm, continued, partial_list};
use crate::accept::Representation;
use crate::context::KrmContext;
use crate::failure::KrmAnswer;
use crate::object;
use crate::page::PageBound;
use crate::reply::{self, Reply};
use crate::request::ApiRequest;
use crate::resource::ResourceType;
use crate::selector::ObjectSelector;
use crate::snapshot::{StatePage, StateReader};
use crate::table;
use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, StatusCode};
use std::sync::Arc;
use tko_core::{BoxError, Cursor, Revision, Want};
use tokio::sync::OwnedSemaphorePermit;

/// A list of which a part is written.
struct Writing {
    context: Arc<KrmContext>,
    request: ApiRequest,
    selector: ObjectSelector,
    want: Want,
    form: ListedForm,
    /// The revision of the state; `None` until the first page is read.
    at: Option<Revision>,
    after: Option<Cursor>,
    /// Whether an object was written, after which a comma is needed.
    has_items: bool,
    is_done: bool,
    bound: PageBound,
    /// Counts the list until it is sent.
    _permit: OwnedSemaphorePermit,
}

impl Writing {
    async fn page(&self) -> KrmAnswer<StatePage> {
        let reader = StateReader {
            data: &*self.request.data,
            feed: &self.context.feed,
            caller: &self.request.caller,
            selector: &self.selector,
            want: self.want,
        };
        let objects = self.bound.objects();
        reader.page(self.at, self.after.clone(), objects).await
    }

    /// Writes the objects of a page, and the end of the list after the last one.
    fn write(&mut self, page: StatePage, into: &mut BytesMut) {
        self.at = Some(page.revision);
        let (form, context, has_items) = (self.form, &self.context, &mut self.has_items);
        self.after = self.bound.write(page, |record| {
            if std::mem::replace(has_items, true) {
                into.put_u8(b',');
            }
            // A JSON value can always be written.
            let item = serde_json::to_vec(&form.item(context, record)).unwrap_or_default();
            into.put_slice(&item);
            item.len()
        });
        if self.after.is_none() {
            into.put_slice(b"]}");
            self.is_done = true;
        }
    }
}

/// Answers with all objects of the state at `at`, or of the current state.
pub(super) async fn all(
    context: Arc<KrmContext>,
    resource: &'static ResourceType,
    request: ApiRequest,
    (selector, want): (ObjectSelector, Want),
    form: ListedForm,
    (at, after): (Option<Revision>, Option<Cursor>),
) -> KrmAnswer<Reply> {
    let permit = context.stream_permit()?;
    let mut writing = Writing {
        context,
        request,
        selector,
        want,
        form,
        at,
        after,
        has_items: false,
        is_done: false,
        bound: PageBound::default(),
        _permit: permit,
    };
    // A failure of the first page is an ordinary answer; a later one breaks the connection.
    let first = writing.page().await;
    let first = first.map_err(|failure| continued(failure, writing.after.clone()))?;
    let version = object::resource_version(first.revision);
    let metadata = table::list_metadata(version, None);
    let head = match writing.form.representation {
        Representation::Object | Representation::Discovery => table::list_head(resource, metadata),
        Representation::Metadata(meta) => partial_list(
            meta,
            &metadata.into(),
            &serde_json::Value::Array(Vec::new()),
        ),
        Representation::Table(meta) => table::table(meta, resource.entity, metadata.into(), true),
    };
    // The list of items is the last field, and empty.
    let head = head.to_string();
    let mut start = BytesMut::new();
    start.put_slice(head.strip_suffix("]}").unwrap_or(&head).as_bytes());
    writing.write(first, &mut start);
    let length = writing.is_done.then_some(start.len());
    let rest = stream::try_unfold(writing, |mut writing| async move {
        if writing.is_done {
            return Ok(None);
        }
        let page = writing.page().await.map_err(|failure| {
            tracing::warn!(status = %failure.to_status(), "a list ends early");
            BoxError::from("the list cannot be read to its end; start again")
        })?;
        let mut bytes = BytesMut::new();
        writing.write(page, &mut bytes);
        Ok::<_, BoxError>(Some((bytes.freeze(), writing)))
    });
    let start = stream::iter([Ok::<Bytes, BoxError>(start.freeze())]);
    let body = Body::from_stream(futures_util::StreamExt::chain(start, rest));
    let content = HeaderValue::from_static("application/json");
    let mut reply = reply::bytes(StatusCode::OK, content, body);
    if let Some(length) = length {
        // By its length, a short list is not compressed.
        reply.headers_mut().insert(CONTENT_LENGTH, length.into());
    }
    Ok(reply)
}
