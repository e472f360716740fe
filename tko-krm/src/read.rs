//! Reading one object.

use crate::accept::{MetaVersion, Representation, Serves};
use crate::context::KrmContext;
use crate::failure::{KrmAnswer, KrmFailure};
use crate::names::{Named, name_of, named};
use crate::object;
use crate::query::Query;
use crate::reply::{self, Reply};
use crate::request::ApiRequest;
use crate::resource::ResourceType;
use crate::stored::NAME;
use crate::table::{self, IncludeObject};
use http::StatusCode;
use serde_json::Value;
use std::time::Duration;
use tko_core::{DataApi, DeploymentId, Error, Key, Kind, List, Pattern, Record, Select, Want};

/// Everything that an object shows.
pub(crate) const WHOLE: Want = Want::PACKAGE.with_revision().with_deleting();

/// Everything but the package.
pub(crate) const ROW: Want = Want::ROW.with_revision().with_deleting();

/// How long a request waits for a resource version that the server has not reached.
const WAIT: Duration = Duration::from_secs(3);

/// The pause between two reads of the position of the feed.
const PAUSE: Duration = Duration::from_millis(50);

/// Answers a GET of one object.
pub(crate) async fn get(
    context: &KrmContext,
    resource: &'static ResourceType,
    name: &str,
    request: &ApiRequest,
) -> KrmAnswer<Reply> {
    let representation = request.representation(Serves::Single)?;
    if let Some(version) = request.query.resource_version()? {
        reach(&*request.data, version).await?;
    }
    let want = match representation {
        Representation::Object => WHOLE,
        _ if include(&request.query)? == IncludeObject::Object => WHOLE,
        _ => ROW,
    };
    let record = find(&*request.data, resource, name, want).await?;
    let value = represented(context, &record, representation, &request.query)?;
    Ok(reply::json(StatusCode::OK, &value))
}

/// An object in a representation.
pub(crate) fn represented(
    context: &KrmContext,
    record: &Record,
    representation: Representation,
    query: &Query,
) -> KrmAnswer<Value> {
    Ok(match representation {
        Representation::Object | Representation::Discovery => object::object(record),
        Representation::Metadata(version) => table::partial(record, version),
        Representation::Table(version) => {
            let kind = record.entity.key.kind();
            let at = object::resource_version(record.revision.unwrap_or_default());
            let metadata = Value::Object(table::list_metadata(at, None));
            let mut table = table::table(version, kind, metadata, true);
            table["rows"] = vec![row(context, record, version, include(query)?)].into();
            table
        }
    })
}

/// The row of an object in a table.
pub(crate) fn row(
    context: &KrmContext,
    record: &Record,
    version: MetaVersion,
    include: IncludeObject,
) -> Value {
    table::row(record, version, include, context.clock.now())
}

/// The parameter `includeObject`.
pub(crate) fn include(query: &Query) -> KrmAnswer<IncludeObject> {
    let text = query.get("includeObject");
    IncludeObject::parse(text).ok_or_else(|| {
        let text = text.unwrap_or_default();
        KrmFailure::bad_request(format!(
            "includeObject: unknown value {text:?}; expected None, Metadata or Object"
        ))
    })
}

/// Reads the object with this name.
pub(crate) async fn find(
    data: &dyn DataApi,
    resource: &'static ResourceType,
    name: &str,
    want: Want,
) -> KrmAnswer<Record> {
    let key = match named(resource.entity, name) {
        Ok(Named::Key(key)) => key,
        Ok(Named::Alias) => {
            let id = alias(data, name)
                .await
                .map_err(|error| KrmFailure::from_error(&error, resource, name))?;
            Key::Deployment(id.ok_or_else(|| KrmFailure::not_found(resource, name))?)
        }
        Err(_) => return Err(KrmFailure::not_found(resource, name)),
    };
    let record = data
        .get(&key, want)
        .await
        .map_err(|error| KrmFailure::from_error(&error, resource, name))?;
    // An object has one URL: the id of a deployment with another name is not its name.
    if name_of(&record.entity.key, &record.entity.given) == name {
        Ok(record)
    } else {
        Err(KrmFailure::not_found(resource, name))
    }
}

/// The deployment whose name is stored separately from its id.
pub(crate) async fn alias(data: &dyn DataApi, name: &str) -> Result<Option<DeploymentId>, Error> {
    let select = Select::all(Kind::Deployment)
        .deleting(true)
        .metadata(NAME, Pattern::literal(name));
    let mut list = List::new(select).limit(1);
    loop {
        let page = data.list(&list).await?;
        let found = page.items.first();
        if let Some(id) = found.and_then(|record| record.entity.key.deployment()) {
            return Ok(Some(id.clone()));
        }
        if page.next.is_none() {
            return Ok(None);
        }
        list.after = page.next;
    }
}

/// Waits until the server has reached a resource version.
pub(crate) async fn reach(data: &dyn DataApi, version: u64) -> KrmAnswer<()> {
    let wanted = object::revision(version);
    let started = tokio::time::Instant::now();
    loop {
        let position = data
            .feed_position()
            .await
            .map_err(|error| KrmFailure::from_other(&error))?;
        if position.revision >= wanted {
            return Ok(());
        }
        if started.elapsed() >= WAIT {
            let current = object::resource_version(position.revision);
            return Err(KrmFailure::too_new(version, current));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::include;
    use crate::query::Query;

    #[test]
    fn an_unknown_value_is_named_as_the_client_wrote_it() {
        let uri = "/x?includeObject=Foo".parse().expect("a URI");
        let query = Query::of(&uri).expect("well encoded");
        let status = include(&query).expect_err("it is unknown").to_status();
        assert_eq!(
            status["message"],
            "includeObject: unknown value \"Foo\"; expected None, Metadata or Object"
        );
    }
}
