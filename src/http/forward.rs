//! `/v1/completions`, `/v1/embeddings`, `/v1/responses`: to the model they name, within the pool.

use http::Response;

use super::{
    error::Failure,
    exchange::Exchange,
    respond::ResponseBody,
    target::{self, Target},
};

/// Forwards a request to the model it names.
pub(super) async fn forward(mut exchange: Exchange<'_>) -> Response<ResponseBody> {
    match choose(&mut exchange) {
        Ok(ranking) => exchange.run(&ranking).await,
        Err(failure) => exchange.fail(&failure),
    }
}

/// The one model to ask.
fn choose(exchange: &mut Exchange<'_>) -> Result<Vec<usize>, Failure> {
    let (target, route) = target::resolve_model(exchange.tenant, exchange.call.request.model())?;
    exchange.guards.account.set_route(&route);
    exchange.call.prompt_tokens = exchange.call.request.input_tokens();
    exchange.guards.reserve(exchange.app, exchange.tenant, &exchange.call)?;
    Ok(match target {
        Target::Model(place) => vec![place],
        Target::Route(_) | Target::Router(..) => Vec::new(),
    })
}
