//! The paths of operators, and the methods that each takes.

use http::Method;

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    Reload,
    Usage,
    Budgets,
    /// What describes all of this to programs.
    Document,
    Keys,
    /// By its id.
    Key(&'a str),
    /// The end of the key of this id, and the beginning of another.
    Rotation(&'a str),
    Tenants,
    /// By its name, percent-encoded.
    Tenant(&'a str),
    /// What was chosen lately.
    Decisions,
    /// What each tenant's requests can be for.
    Pools,
    /// A request in the name of this tenant, percent-encoded.
    As(&'a str, Asked),
}

/// What is asked in a tenant's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// An answer.
    Chat,
    /// Whom it would be asked of, and why.
    Why,
}

impl<'a> Place<'a> {
    /// What a path names, if anything.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        Some(match path {
            "/admin/reload" => Self::Reload,
            "/admin/usage" => Self::Usage,
            "/admin/budgets" => Self::Budgets,
            "/admin/openapi.json" => Self::Document,
            "/admin/keys" => Self::Keys,
            "/admin/tenants" => Self::Tenants,
            "/admin/decisions" => Self::Decisions,
            "/admin/pools" => Self::Pools,
            _ => return Self::below(path),
        })
    }

    fn below(path: &'a str) -> Option<Self> {
        let named = |above| path.strip_prefix(above).filter(|name: &&str| !name.is_empty());
        if let Some(name) = named("/admin/tenants/") {
            return Some(Self::Tenant(name));
        }
        if let Some((tenant, asked)) = named("/admin/as/").and_then(|rest| rest.split_once('/')) {
            return match asked {
                "v1/chat/completions" => Some(Self::As(tenant, Asked::Chat)),
                "v1/route" => Some(Self::As(tenant, Asked::Why)),
                _ => None,
            };
        }
        match named("/admin/keys/")?.split_once('/') {
            None => named("/admin/keys/").map(Self::Key),
            Some((id, "rotate")) => Some(Self::Rotation(id)),
            Some(_) => None,
        }
    }

    /// As the `allow` header lists them.
    pub(super) const fn methods(self) -> &'static str {
        match self {
            Self::Usage | Self::Budgets | Self::Document | Self::Tenants | Self::Decisions | Self::Pools => {
                "GET, HEAD"
            }
            Self::Reload | Self::Rotation(_) | Self::As(..) => "POST",
            Self::Keys => "GET, HEAD, POST",
            Self::Key(_) => "DELETE",
            Self::Tenant(_) => "GET, HEAD, PUT, DELETE",
        }
    }

    /// Whether a method is one of them.
    pub(super) fn takes(self, method: &Method) -> bool {
        self.methods().split(", ").any(|taken| taken == method.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::http::admin::DOCUMENT;

    /// The next of all places, so that none can be forgotten.
    fn next(place: Place<'static>) -> Option<Place<'static>> {
        Some(match place {
            Place::Reload => Place::Usage,
            Place::Usage => Place::Budgets,
            Place::Budgets => Place::Document,
            Place::Document => Place::Keys,
            Place::Keys => Place::Key("{id}"),
            Place::Key(_) => Place::Rotation("{id}"),
            Place::Rotation(_) => Place::Tenants,
            Place::Tenants => Place::Tenant("{name}"),
            Place::Tenant(_) => Place::Decisions,
            Place::Decisions => Place::Pools,
            Place::Pools => Place::As("{name}", Asked::Chat),
            Place::As(_, Asked::Chat) => Place::As("{name}", Asked::Why),
            Place::As(_, Asked::Why) => return None,
        })
    }

    #[test]
    fn the_document_describes_every_place() {
        let document: serde_json::Value = serde_json::from_str(DOCUMENT).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let mut described: BTreeMap<&str, Place<'_>> = BTreeMap::new();
        for (path, methods) in paths.iter().filter(|(path, _)| path.starts_with("/admin/")) {
            let place = Place::of(path).unwrap_or_else(|| panic!("{path} is nowhere"));
            described.insert(path, place);
            let mut listed: Vec<String> =
                methods.as_object().unwrap().keys().map(|key| key.to_uppercase()).collect();
            listed.retain(|key| key != "PARAMETERS");
            let mut taken: Vec<&str> =
                place.methods().split(", ").filter(|method| *method != "HEAD").collect();
            listed.sort();
            taken.sort_unstable();
            assert_eq!(listed, taken, "{path}");
        }
        let all = std::iter::successors(Some(Place::Reload), |place| next(*place));
        for place in all {
            assert!(described.values().any(|known| *known == place), "{place:?} is not described");
        }
    }

    #[test]
    fn what_is_no_place() {
        for path in [
            "/admin",
            "/admin/",
            "/admin/keys/",
            "/admin/keysx",
            "/admin/keys/a/b",
            "/admin/tenants/",
            "/admin/usage/",
        ] {
            assert_eq!(Place::of(path), None, "{path}");
        }
        assert_eq!(Place::of("/admin/tenants/a/b"), Some(Place::Tenant("a/b")));
        assert!(Place::Tenants.takes(&Method::HEAD) && !Place::Tenants.takes(&Method::POST));
    }
}
