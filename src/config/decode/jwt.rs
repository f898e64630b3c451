//! Reads `jwt`.

use super::model;
use crate::config::jwt::JwtConfig;
use crate::config::value::Value;

/// One issuer, or a list of them.
pub(super) fn issuers(value: &Value<'_>) -> Option<Vec<JwtConfig>> {
    if !value.is_list() {
        return Some(vec![issuer(value)?]);
    }
    let mut issuers: Vec<JwtConfig> = Vec::new();
    for item in value.items("a list of issuers") {
        match issuer(&item) {
            Some(one) if issuers.iter().any(|other| other.issuer == one.issuer) => {
                item.error("is the same issuer again", None);
            }
            Some(one) => issuers.push(one),
            None => {}
        }
    }
    Some(issuers)
}

fn issuer(value: &Value<'_>) -> Option<JwtConfig> {
    let mut fields = value.fields("`{issuer: https://…, audience: …}`")?;
    let issuer = fields.require("issuer", "the URL that its tokens name as `iss`");
    let audience = fields.require("audience", "what its tokens for this gateway name as `aud`");
    let jwks_url = fields.read("jwks_url", model::base_url);
    let claim = |value: &Value<'_>| value.text("the name of a claim").map(str::to_owned);
    let tenant_claim = fields.read("tenant_claim", claim).unwrap_or_else(|| "tenant".to_owned());
    let project_claim = fields.read("project_claim", claim);
    fields.finish();
    let issuer = issuer.and_then(|value| model::base_url(&value));
    let audience = audience.and_then(|value| value.text("an audience").map(str::to_owned));
    Some(JwtConfig { issuer: issuer?, audience: audience?, jwks_url, tenant_claim, project_claim })
}
