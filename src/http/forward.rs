//! `/v1/completions`, `/v1/embeddings`, `/v1/responses`: to the model they name, within the pool.

use http::Response;

use super::{
    exchange::Exchange,
    respond::ResponseBody,
    target::{self, Target},
};

/// Forwards a request to the model it names.
pub(super) async fn forward(mut exchange: Exchange<'_>) -> Response<ResponseBody> {
    let (target, route) = match target::resolve_model(exchange.tenant, exchange.call.request.model()) {
        Ok(found) => found,
        Err(failure) => return exchange.fail(&failure),
    };
    exchange.guards.account.set_route(&route);
    let delivery = exchange.tenant.delivery(&route);
    if let Some(rules) = delivery.cache {
        match exchange.kept(&target, rules).await {
            Ok(Some(kept)) => return exchange.replay(&kept),
            Ok(None) => {}
            Err(failure) => return exchange.fail(&failure),
        }
    }
    exchange.call.prompt_tokens = exchange.call.request.input_tokens();
    if let Err(failure) = exchange.guards.reserve(exchange.app, exchange.tenant, &exchange.call).await {
        return exchange.fail(&failure);
    }
    let ranking = match target {
        Target::Model(place) => vec![place],
        Target::Route(_) | Target::Router(..) => Vec::new(),
    };
    exchange.run(&ranking, &delivery).await
}
