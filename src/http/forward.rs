//! `/v1/completions`, `/v1/embeddings`, `/v1/responses`: to the model they name, within the pool.

use http::Response;

use crate::config::Delivery;

use super::{
    exchange::Exchange,
    respond::ResponseBody,
    target::{self, Target},
};

/// Forwards a request to the model it names.
pub(super) async fn forward(mut exchange: Exchange<'_>) -> Response<ResponseBody> {
    match target::resolve_model(exchange.tenant, exchange.call.request.model()) {
        Ok((Target::Model(place), route)) => {
            exchange.guards.account.set_route(&route);
            exchange.call.prompt_tokens = exchange.call.request.input_tokens();
            let delivery = exchange.tenant.delivery(&route);
            if let Some(rules) = delivery.cache {
                match exchange.kept(&Target::Model(place), rules) {
                    Ok(Some(kept)) => return exchange.replay(&kept),
                    Ok(None) => {}
                    Err(failure) => return exchange.fail(&failure),
                }
            }
            exchange.run(&[place], &delivery).await
        }
        Ok(_) => exchange.run(&[], &Delivery::default()).await,
        Err(failure) => exchange.fail(&failure),
    }
}
