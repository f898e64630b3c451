//! `pointsman demo`: the gateway with three built-in upstreams, for a first look. No keys, no network, no files.

pub mod answer;
pub mod upstream;

use std::net::SocketAddr;

use crate::{http::app::DecisionReport, openai::endpoint::Endpoint};

/// A built-in model: which one it plays, what it charges and how fast it is.
#[derive(Debug, Clone, Copy)]
pub struct DemoModel {
    /// Its name in the pool.
    pub name: &'static str,
    /// The model of the artefact whose row stands for it.
    pub rated_as: &'static str,
    /// USD per million prompt tokens.
    pub input_usd: &'static str,
    /// USD per million answer tokens.
    pub output_usd: &'static str,
    /// Answer tokens per second.
    pub tokens_per_second: u64,
}

/// Prices and speeds as hosted models of these sizes had them in 2024.
pub const MODELS: [DemoModel; 3] = [
    DemoModel {
        name: "small",
        rated_as: "mistral-7b-instruct-v0.2",
        input_usd: "0.05",
        output_usd: "0.25",
        tokens_per_second: 160,
    },
    DemoModel {
        name: "medium",
        rated_as: "mixtral-8x7b-instruct-v0.1",
        input_usd: "0.60",
        output_usd: "0.60",
        tokens_per_second: 90,
    },
    DemoModel {
        name: "large",
        rated_as: "gpt-4-1106-preview",
        input_usd: "10.00",
        output_usd: "30.00",
        tokens_per_second: 40,
    },
];

/// The operator's key: everybody may know it, on this machine.
const ADMIN_KEY: &str = "demo";

/// The configuration of the demo: where clients and operators connect, its upstreams being at `upstream`.
#[must_use]
pub fn config_yaml([listen, admin_listen]: [SocketAddr; 2], upstream: SocketAddr) -> String {
    let models: String = MODELS
        .iter()
        .map(|model| {
            let DemoModel { name, rated_as, input_usd, output_usd, .. } = model;
            format!(
                "  {name}: {{ base_url: \"http://{upstream}/v1\", rated_as: {rated_as}, price: {{ input: {input_usd}, output: {output_usd} }} }}\n"
            )
        })
        .collect();
    format!(
        "listen: \"{listen}\"\nadmin_listen: \"{admin_listen}\"\nadmin_keys: [{{ key: {ADMIN_KEY} }}]\n\
         models:\n{models}routes:\n  auto: {{ router: mf, strong_share: 0.3 }}\n\
         tenants:\n  demo: {{ open: true, pool: [small, medium, large], default_route: auto, default_model: medium, \
         budget: {{ usd: 10, per: day }} }}\n"
    )
}

/// What a user can paste.
#[must_use]
pub fn welcome(address: SocketAddr, admin: Option<SocketAddr>) -> String {
    let page = admin.map(|admin| {
        format!("Look at it: http://{admin}/ui/ with the key `{ADMIN_KEY}`; its metrics are at http://{admin}/metrics.\n\n")
    });
    let page = page.unwrap_or_default();
    let base_url = format!("http://{address}/v1");
    let path = Endpoint::Chat.path();
    format!(
        "pointsman demo: three built-in models (small, medium, large), routed by the learned router `mf`.\n\
         \n\
         base_url: {base_url}\n\
         \n\
         curl -sN {base_url}{path} -H 'content-type: application/json' -d '{{\"model\":\"auto\",\"stream\":true,\"messages\":[{{\"role\":\"user\",\"content\":\"Write a sonnet in which the first letters spell POINTSMAN.\"}}]}}'\n\
         \n\
         from openai import OpenAI\n\
         client = OpenAI(base_url=\"{base_url}\", api_key=\"any\")\n\
         stream = client.chat.completions.create(model=\"auto\", stream=True, messages=[{{\"role\": \"user\", \"content\": \"What is 2 + 2?\"}}])\n\
         for chunk in stream:\n\
         \x20   print(chunk.choices[0].delta.content or \"\" if chunk.choices else \"\", end=\"\", flush=True)\n\
         \n\
         {page}Every request shows here. Stop with Ctrl-C.\n"
    )
}

/// Longest beginning of a prompt that is shown.
const PROMPT_CHARS: usize = 48;

/// One line per decision.
#[must_use]
pub fn decision_line(report: &DecisionReport<'_>) -> String {
    let prompt: String = report.prompt.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
    let mut shown: String = prompt.chars().take(PROMPT_CHARS).collect();
    if prompt.chars().count() > PROMPT_CHARS {
        shown.push('…');
    }
    let win_rates: Vec<String> =
        report.win_rates.iter().map(|(model, rate)| format!("beats {model} {:.0} %", 100.0 * rate)).collect();
    format!("{shown:<49} → {:<7} {} ({} µs)", report.model, win_rates.join(", "), report.decision_us)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_is_one_line() {
        let line = decision_line(&DecisionReport {
            prompt: "Hello\nworld",
            model: "large",
            win_rates: vec![("small", 0.75), ("medium", 0.6)],
            decision_us: 87,
        });
        assert_eq!(line.lines().count(), 1);
        assert!(line.contains("Hello world") && line.contains("→ large"), "{line}");
        assert!(line.ends_with("beats small 75 %, beats medium 60 % (87 µs)"), "{line}");
    }
}
