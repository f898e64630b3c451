//! The page that operators look at: three files in the binary. What it shows it asks of `/admin/…` and `/metrics`, as anybody would.

use http::{HeaderValue, Response, StatusCode, header};

use super::respond::{ResponseBody, full};

/// Nothing from elsewhere, nothing in the page itself that runs, and nobody may frame it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The file of a path, if it is one of the page's.
pub(super) fn file(path: &str) -> Option<Response<ResponseBody>> {
    let (text, kind) = match path {
        "/ui/" => (include_str!("page/index.html"), "text/html; charset=utf-8"),
        "/ui/app.js" => (include_str!("page/app.js"), "text/javascript; charset=utf-8"),
        "/ui/app.css" => (include_str!("page/app.css"), "text/css; charset=utf-8"),
        "/" | "/ui" => return Some(elsewhere()),
        _ => return None,
    };
    let mut response = Response::new(full(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(response)
}

fn elsewhere() -> Response<ResponseBody> {
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/ui/"));
    response
}
