//! Who answers: names, routes, filters, rankings, and what happens when a router does not decide.

mod choice;
mod encoder;
mod fail_open;
mod needs;
mod served;

use crate::{
    answers::answer,
    router::Scripted,
    stand::{Setup, Stand},
    upstream::{Script, Upstream},
};

/// Three models from cheap to dear; the dearer, the better.
const PRIORS: &[(&str, f64)] = &[("small", 0.0), ("medium", 1.0), ("large", 2.0)];

/// The upstreams of the three models. Each says its own name.
struct Upstreams(Vec<(&'static str, Upstream)>);

impl Upstreams {
    async fn start() -> Self {
        let mut upstreams = Vec::new();
        for (name, _) in PRIORS {
            upstreams
                .push((*name, Upstream::start([Script::json(200, &answer(&format!("I am {name}")))]).await));
        }
        Self(upstreams)
    }

    /// The three models with their prices and fields of their own, listed in no telling order.
    fn setup(&self, fields: impl Fn(&str) -> &'static str) -> Setup {
        let price = |name: &str| PRIORS.iter().position(|(known, _)| *known == name).unwrap() + 1;
        [1, 2, 0].iter().fold(Setup::new(), |setup, &place| {
            let (name, upstream) = &self.0[place];
            let cost = price(name);
            setup.model(
                name,
                &upstream.base_url(),
                &format!("price: {{input: {cost}, output: {cost}}}, {}", fields(name)),
            )
        })
    }

    fn requests(&self) -> usize {
        self.0.iter().map(|(_, upstream)| upstream.requests()).sum()
    }
}

const TENANTS: &str = "{t: {keys: [{key: tenant-key}], pool: [medium, large, small], default_route: auto, default_model: medium}}";

/// The three models behind this router as `mf`, `random` and `best_single`, with these routes.
async fn stand(upstreams: &Upstreams, router: &Scripted, routes: &str) -> Stand {
    upstreams.setup(|_| "").tenants(TENANTS).routes(routes).engine("mf", router.engine()).start().await
}

/// A chat request with this text.
fn ask(model: &str, text: &str) -> String {
    serde_json::json!({"model": model, "messages": [{"role": "user", "content": text}]}).to_string()
}

/// The model that answered, by its own word and by the header's.
async fn who(stand: &Stand, body: String) -> String {
    let mut reply = stand.chat(body).await;
    assert_eq!(reply.status, 200);
    let named = reply.header("x-pointsman-model").unwrap().to_owned();
    let json = reply.json().await;
    assert_eq!(json["choices"][0]["message"]["content"], format!("I am {named}"));
    assert_eq!(json["model"], named, "the answer's model is the pool's name");
    named
}
