//! Who may sign tokens that stand for tenants, in place of keys.

use super::base_url::HttpBaseUrl;

/// One entry of `jwt`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JwtConfig {
    /// The issuer, as its tokens name it.
    pub issuer: HttpBaseUrl,
    /// Whom its tokens must be for.
    pub audience: String,
    /// Where its keys are; where its own configuration says when absent.
    pub jwks_url: Option<HttpBaseUrl>,
    /// The claim that names the tenant.
    pub tenant_claim: String,
    /// The claim that names the tenant's project.
    pub project_claim: Option<String>,
}
