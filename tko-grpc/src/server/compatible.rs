//! The service for existing clients, `tko.Data`.
//!
//! | file | content |
//! |---|---|
//! | `template`, `site`, `deployment`, `plugin` | messages of one kind of entity |
//! | `shared` | windows, packages, deployment ids, reasons |

mod deployment;
mod plugin;
mod shared;
mod site;
mod template;

use super::call::{CallOptions, Lifetime, ServiceContext};
use super::windows::CallerWindows;
use crate::proto::{self, data_server};
use futures_core::Stream;
use futures_core::stream::BoxStream;
use futures_util::TryStreamExt;
use shared::{deleted, not_empty, purged, registered, window};
use std::sync::Arc;
use tko_core::{Caller, Key, Kind, Record, Result, Select, Token, Want};
use tko_serve::package_weight;
use tonic::{Request, Response, Status};

/// Implements `tko.Data`.
pub(super) struct CompatibleService(pub(super) Arc<ServiceContext>);

impl CompatibleService {
    /// The rows in a window of a listing.
    fn rows(
        windows: CallerWindows,
        select: Select,
        asked: Option<proto::Window>,
    ) -> impl Stream<Item = Result<Record>> + Send + 'static {
        let (offset, count) = window(asked);
        windows.rows(select, offset, count)
    }

    /// The rows in a window of a listing, as messages with deployment ids.
    fn listed<A: Send + 'static>(
        &self,
        windows: CallerWindows,
        select: Select,
        asked: Option<proto::Window>,
        message: fn(&Record, Vec<String>) -> A,
    ) -> impl Stream<Item = Result<A>> + Send + 'static {
        let max = self.0.settings.max_deployment_ids;
        let api = windows.api.clone();
        Self::rows(windows, select, asked).and_then(move |record| {
            let api = api.clone();
            async move {
                let ids = shared::deployment_ids(api, &record.entity.key, max).await?;
                Ok(message(&record, ids))
            }
        })
    }

    /// Answers a listing; `prepare` converts the request to a stream.
    fn list<Q, A, S>(
        &self,
        request: Request<Q>,
        prepare: impl FnOnce(CallerWindows, Q) -> Result<S>,
    ) -> Result<Response<BoxStream<'static, Result<A, Status>>>, Status>
    where
        A: Send + 'static,
        S: Stream<Item = Result<A>> + Send + 'static,
    {
        let options = CallOptions::of(request.metadata());
        let permit = self.0.stream_permit(request.extensions())?;
        let windows = CallerWindows {
            api: self.0.api(request.extensions()),
            caller: request.extensions().get::<Caller>().cloned(),
            ends: self.0.window_ends.clone(),
        };
        let items =
            prepare(windows, request.into_inner()).map_err(|error| options.refuse(&error))?;
        Ok(self.0.stream(options, Lifetime::Finite, permit, items))
    }

    async fn delete<Q>(
        &self,
        request: Request<Q>,
        key: impl FnOnce(Q) -> Result<Key>,
    ) -> Result<Response<proto::DeleteResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                api.delete(&key(request)?).await?;
                Ok(deleted())
            })
            .await
    }

    async fn purge<Q>(
        &self,
        request: Request<Q>,
        select: impl FnOnce(Q) -> Result<Select>,
    ) -> Result<Response<proto::DeleteResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                Ok(purged(&api.purge(&select(request)?).await?))
            })
            .await
    }
}

type Listing<A> = BoxStream<'static, Result<A, Status>>;

#[tonic::async_trait]
impl data_server::Data for CompatibleService {
    type listTemplatesStream = Listing<proto::ListedTemplate>;
    type listSitesStream = Listing<proto::ListedSite>;
    type listDeploymentsStream = Listing<proto::ListedDeployment>;
    type listPluginsStream = Listing<proto::Plugin>;

    async fn about(&self, request: Request<()>) -> Result<Response<proto::AboutResponse>, Status> {
        self.0
            .answer(request, |api, ()| async move {
                Ok(proto::AboutResponse {
                    instance_name: self.0.settings.name.clone(),
                    instance_description: self.0.settings.description.clone(),
                    tko_version: env!("CARGO_PKG_VERSION").to_owned(),
                    backend: api.about().await?.backend,
                    address_ports: self.0.addresses.iter().map(ToString::to_string).collect(),
                    default_package_format: shared::DEFAULT_FORMAT.as_str().to_owned(),
                })
            })
            .await
    }

    async fn register_template(
        &self,
        request: Request<proto::Template>,
    ) -> Result<Response<proto::RegisterResponse>, Status> {
        self.0
            .answer_large(
                request,
                |r| package_weight(&r.package),
                |request| template::new(request, &self.0.settings.limits),
                |api, new| async move {
                    api.register_template(new).await?;
                    Ok(registered())
                },
            )
            .await
    }

    async fn delete_template(
        &self,
        request: Request<proto::TemplateId>,
    ) -> Result<Response<proto::DeleteResponse>, Status> {
        self.delete(request, |id| Key::new(Kind::Template, &id.template_id))
            .await
    }

    async fn get_template(
        &self,
        request: Request<proto::GetTemplate>,
    ) -> Result<Response<proto::Template>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let format = shared::preferred(&request.preferred_package_format)?;
                let key = Key::new(Kind::Template, &request.template_id)?;
                let record = api.get(&key, Want::PACKAGE).await?;
                let max = self.0.settings.max_deployment_ids;
                let ids = shared::deployment_ids(api, &key, max).await?;
                Ok(template::whole(&record, ids, format))
            })
            .await
    }

    async fn list_templates(
        &self,
        request: Request<proto::ListTemplates>,
    ) -> Result<Response<Self::listTemplatesStream>, Status> {
        self.list(request, |windows, list| {
            let select = template::select(&list.select.unwrap_or_default())?;
            Ok(self.listed(windows, select, list.window, template::listed))
        })
    }

    async fn purge_templates(
        &self,
        request: Request<proto::SelectTemplates>,
    ) -> Result<Response<proto::DeleteResponse>, Status> {
        self.purge(request, |select| template::select(&select))
            .await
    }

    async fn register_site(
        &self,
        request: Request<proto::Site>,
    ) -> Result<Response<proto::RegisterResponse>, Status> {
        self.0
            .answer_large(
                request,
                |r| package_weight(&r.package),
                |request| site::new(request, &self.0.settings.limits),
                |api, new| async move {
                    api.register_site(new).await?;
                    Ok(registered())
                },
            )
            .await
    }

    async fn delete_site(
        &self,
        request: Request<proto::SiteId>,
    ) -> Result<Response<proto::DeleteResponse>, Status> {
        self.delete(request, |id| Key::new(Kind::Site, &id.site_id))
            .await
    }

    async fn get_site(
        &self,
        request: Request<proto::GetSite>,
    ) -> Result<Response<proto::Site>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let format = shared::preferred(&request.preferred_package_format)?;
                let key = Key::new(Kind::Site, &request.site_id)?;
                let record = api.get(&key, Want::PACKAGE).await?;
                let max = self.0.settings.max_deployment_ids;
                let ids = shared::deployment_ids(api, &key, max).await?;
                Ok(site::whole(&record, ids, format))
            })
            .await
    }

    async fn list_sites(
        &self,
        request: Request<proto::ListSites>,
    ) -> Result<Response<Self::listSitesStream>, Status> {
        self.list(request, |windows, list| {
            let select = site::select(&list.select.unwrap_or_default())?;
            Ok(self.listed(windows, select, list.window, site::listed))
        })
    }

    async fn purge_sites(
        &self,
        request: Request<proto::SelectSites>,
    ) -> Result<Response<proto::DeleteResponse>, Status> {
        self.purge(request, |select| site::select(&select)).await
    }

    async fn create_deployment(
        &self,
        request: Request<proto::CreateDeployment>,
    ) -> Result<Response<proto::CreateDeploymentResponse>, Status> {
        self.0
            .answer_large(
                request,
                |r| package_weight(&r.merge_package),
                |request| deployment::new(request, &self.0.settings.limits),
                |api, new| async move {
                    let id = api.create_deployment(new).await?;
                    Ok(proto::CreateDeploymentResponse {
                        created: true,
                        not_created_reason: String::new(),
                        deployment_id: id.to_string(),
                    })
                },
            )
            .await
    }

    async fn delete_deployment(
        &self,
        request: Request<proto::DeploymentId>,
    ) -> Result<Response<proto::DeleteResponse>, Status> {
        self.delete(request, |id| Key::new(Kind::Deployment, &id.deployment_id))
            .await
    }

    async fn get_deployment(
        &self,
        request: Request<proto::GetDeployment>,
    ) -> Result<Response<proto::Deployment>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let format = shared::preferred(&request.preferred_package_format)?;
                let key = Key::new(Kind::Deployment, &request.deployment_id)?;
                let record = api.get(&key, Want::PACKAGE).await?;
                Ok(deployment::whole(&record, format))
            })
            .await
    }

    async fn list_deployments(
        &self,
        request: Request<proto::ListDeployments>,
    ) -> Result<Response<Self::listDeploymentsStream>, Status> {
        self.list(request, |windows, list| {
            let select = deployment::select(&list.select.unwrap_or_default())?;
            Ok(Self::rows(windows, select, list.window)
                .map_ok(|record| deployment::listed(&record)))
        })
    }

    async fn purge_deployments(
        &self,
        request: Request<proto::SelectDeployments>,
    ) -> Result<Response<proto::DeleteResponse>, Status> {
        self.purge(request, |select| {
            not_empty("parentDeploymentId", select.parent_deployment_id.as_deref())?;
            deployment::select(&select)
        })
        .await
    }

    async fn start_deployment_modification(
        &self,
        request: Request<proto::StartDeploymentModification>,
    ) -> Result<Response<proto::StartDeploymentModificationResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let format = shared::preferred(&request.preferred_package_format)?;
                let id = request.deployment_id.parse()?;
                let modification = api
                    .start_modification(&id, self.0.settings.modification)
                    .await?;
                Ok(deployment::started(&modification, format))
            })
            .await
    }

    async fn end_deployment_modification(
        &self,
        request: Request<proto::EndDeploymentModification>,
    ) -> Result<Response<proto::EndDeploymentModificationResponse>, Status> {
        self.0
            .answer_large(
                request,
                |r| package_weight(&r.package),
                |request| {
                    let token = Token::decode(&request.modification_token)?;
                    let package = crate::wire::table::decode(
                        &request.package_format,
                        &request.package,
                        &self.0.settings.limits,
                    )?;
                    Ok((token, package))
                },
                |api, (token, package)| async move {
                    api.end_modification(&token, package).await?;
                    Ok(proto::EndDeploymentModificationResponse {
                        modified: true,
                        not_modified_reason: String::new(),
                        deployment_id: token.key.id().to_owned(),
                    })
                },
            )
            .await
    }

    async fn cancel_deployment_modification(
        &self,
        request: Request<proto::CancelDeploymentModification>,
    ) -> Result<Response<proto::CancelDeploymentModificationResponse>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let token = Token::decode(&request.modification_token)?;
                api.cancel_modification(&token).await?;
                Ok(proto::CancelDeploymentModificationResponse {
                    cancelled: true,
                    not_cancelled_reason: String::new(),
                })
            })
            .await
    }

    async fn register_plugin(
        &self,
        request: Request<proto::Plugin>,
    ) -> Result<Response<proto::RegisterResponse>, Status> {
        self.0
            .answer_large(
                request,
                |_| 0,
                plugin::new,
                |api, new| async move {
                    api.register_plugin(new).await?;
                    Ok(registered())
                },
            )
            .await
    }

    async fn delete_plugin(
        &self,
        request: Request<proto::PluginId>,
    ) -> Result<Response<proto::DeleteResponse>, Status> {
        self.delete(request, |id| plugin::key(&id)).await
    }

    async fn get_plugin(
        &self,
        request: Request<proto::PluginId>,
    ) -> Result<Response<proto::Plugin>, Status> {
        self.0
            .answer(request, |api, request| async move {
                let record = api.get(&plugin::key(&request)?, Want::ROW).await?;
                Ok(plugin::whole(&record))
            })
            .await
    }

    async fn list_plugins(
        &self,
        request: Request<proto::ListPlugins>,
    ) -> Result<Response<Self::listPluginsStream>, Status> {
        self.list(request, |windows, list| {
            let select = plugin::select(&list.select.unwrap_or_default())?;
            Ok(Self::rows(windows, select, list.window).map_ok(|record| plugin::whole(&record)))
        })
    }

    async fn purge_plugins(
        &self,
        request: Request<proto::SelectPlugins>,
    ) -> Result<Response<proto::DeleteResponse>, Status> {
        self.purge(request, |select| {
            not_empty("type", select.r#type.as_deref())?;
            not_empty("executor", select.executor.as_deref())?;
            plugin::select(&select)
        })
        .await
    }
}
