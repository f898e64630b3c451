//! The routers that routes ask for, loaded from their files.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use pointsman_routers::shipped;
use tokio::time::Instant;

use crate::{
    config::{EmbedderConfig, RoutedConfig, RouterKind, ServedConfig},
    resilience::unanswered::Unanswered,
    routing::{
        beside::{self, Beside},
        embedders::{self, Embedders},
        engine::{Engine, EngineError},
        served::{Ask, Served},
    },
    snapshot::RouteFault,
    upstream::{client::Clients, service::Service},
};

/// A router for a route's encoder, from an artefact that ships beside the binary.
fn load_beside(route: &RoutedConfig, folder: &Path, embedders: &Embedders) -> Result<Engine, RouteFault> {
    let fault = |error: &dyn std::fmt::Display| RouteFault::new("embedder", error);
    let encoder = embedders::encoder(folder).map_err(|error| fault(&error))?;
    let Beside { file, artifact, version } = beside::find(route.router.name(), encoder.fingerprint())
        .map_err(|error| RouteFault {
            hint: Some(format!("name its file by `artifact:`, or the folder by {}", beside::FOLDER_VARIABLE)),
            ..fault(&error)
        })?;
    tracing::info!(router = route.router.name(), file = %file.display(), "an artefact beside the binary");
    Engine::new(artifact.router(), embedders)
        .map(|engine| engine.with_version(version))
        .map_err(|error| fault(&error))
}

/// The router of an artefact, for which another process reads texts.
fn load_served(
    route: &RoutedConfig,
    served: &ServedConfig,
    (queue_max, clients): (usize, &Clients),
) -> Result<Engine, RouteFault> {
    let fault = |error: &dyn std::fmt::Display| RouteFault::new("served", error);
    let Some(file) = &route.artifact else {
        let hint =
            "name its file by `artifact:`, that of a router which was trained with the model that is served";
        return Err(RouteFault { hint: Some(hint.to_owned()), ..fault(&"needs an artefact") });
    };
    let (router, version) =
        shipped::load(route.router.name(), file).map_err(|error| RouteFault::new("artifact", &error))?;
    let service = Service::prepare(&served.upstream, served.api.path(), queue_max, clients)
        .map_err(|error| fault(&error))?;
    let (service, model) = (Arc::new(service), &served.upstream.upstream_model);
    let served = match router.script() {
        Some(script) => {
            let script = script.map_err(|error| RouteFault::new("artifact", &error))?;
            let script = match &served.tokenizer {
                Some(path) => script.with_tokenizer(path).map_err(|error| fault(&error))?,
                None => script,
            };
            Served::labels(service, model, served.api, script)
        }
        None => Served::vectors(service, model, served.api),
    };
    Ok(Engine::by_server(router, served).with_version(version))
}

/// The router that a route asks for, with the embedder that it asks for and no other.
///
/// # Errors
/// When it cannot be loaded.
pub fn load_engine(route: &RoutedConfig, queue_max: usize, clients: &Clients) -> Result<Engine, RouteFault> {
    let embedders = match &route.embedder {
        EmbedderConfig::Served(served) => return load_served(route, served, (queue_max, clients)),
        EmbedderConfig::Static => Embedders::only_static(),
        EmbedderConfig::Encoder(folder) => Embedders::only_encoder(folder),
        EmbedderConfig::Decoder(path) => Embedders::only_decoder(path),
    };
    let of_text = if route.router == RouterKind::Causal { "decoder" } else { "embedder" };
    let embedders = embedders.map_err(|error| RouteFault::new(of_text, &error))?;
    if route.artifact.is_none()
        && let EmbedderConfig::Encoder(folder) = &route.embedder
    {
        return load_beside(route, folder, &embedders);
    }
    let loaded = Engine::load(route.router.name(), route.artifact.as_deref(), &embedders);
    loaded.map_err(|error| {
        let hint = match &error {
            EngineError::Misfit { misfit, .. } => {
                Some(misfit.advice("embedder: {encoder: DIR}", "decoder: PATH"))
            }
            EngineError::Router(_) => None,
        };
        let key = if route.artifact.is_some() { "artifact" } else { of_text };
        RouteFault { hint, ..RouteFault::new(key, &error) }
    })
}

#[async_trait]
impl Ask for Service {
    async fn ask(&self, json: Bytes, deadline: Instant) -> Result<Bytes, Unanswered> {
        self.ask(json, deadline).await
    }
}
