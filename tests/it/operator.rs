//! Requests of an operator.

use http::{Method, Request};
use http_body_util::Full;
use serde_json::Value;

use crate::{
    client::{Client, Reply},
    stand::Stand,
};

/// The operator's key.
pub(crate) const OPERATOR: &str = "operators-key";

/// The line of a configuration that says so.
pub(crate) fn admin_keys() -> String {
    format!("admin_keys: [{{key: {OPERATOR}}}]")
}

/// The answer to a request of an operator's.
pub(crate) async fn ask(stand: &Stand, key: &str, (method, path): (Method, &str), body: String) -> Reply {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "gateway")
        .header("authorization", format!("Bearer {key}"))
        .body(Full::from(body))
        .unwrap();
    Client::connect(stand.admin).await.last(request).await
}

/// Its status, and the JSON that it has.
pub(crate) async fn operate(stand: &Stand, key: &str, of: (Method, &str), body: Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let mut reply = ask(stand, key, of, body).await;
    let text = reply.text().await;
    (reply.status.as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
}
