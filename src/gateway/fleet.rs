//! A gateway among others.

use std::sync::Arc;

use crate::{
    config::RedisConfig,
    fleet::{Fleet, answers::Answers, link::Link},
    http::app::App,
};

/// Shares with other gateways from now on what they have to agree on.
pub(super) fn join(app: &App, redis: &RedisConfig) {
    let link = Link::open(&redis.url, Arc::clone(&app.metrics));
    let _ = app.answers.set(Answers::over(Arc::clone(&link)));
    // A file is this gateway's own: others know nothing of what is in it.
    let ledger = app.books.ledger().filter(|ledger| ledger.database().file().is_none());
    let fleet =
        Fleet::join(link, ledger.map(Arc::clone), (app.budgets.clone(), &app.limiters), redis.on_store_loss);
    let _ = app.fleet.set(fleet);
}

/// Says again and again how this gateway stands among others.
pub(super) async fn tend(app: Arc<App>) {
    match app.fleet.get() {
        Some(fleet) => fleet.run().await,
        None => std::future::pending().await,
    }
}
