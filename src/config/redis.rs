//! What several gateways share at every moment: the keys `redis` and `on_store_loss`.

use std::{fmt, net::IpAddr, path::PathBuf};

use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};

use super::usd::Usd;
use crate::secret::Secret;

/// What the keys `redis` and `on_store_loss` say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisConfig {
    /// Where Redis is.
    pub url: RedisUrl,
    /// What becomes of requests with a budget while it is away.
    pub on_store_loss: OnStoreLoss,
}

/// What becomes of requests with a budget while Redis is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnStoreLoss {
    /// They are refused.
    #[default]
    Refuse,
    /// Each gateway may spend this much of each budget beyond what it was granted.
    Allow(Usd),
}

/// A URL of a Redis server, taken apart.
#[derive(Clone)]
pub struct RedisUrl {
    /// As it was written, with whatever password is in it.
    written: Secret,
    /// The server's name or address.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// It is spoken to by TLS, and its certificate is checked.
    pub has_tls: bool,
    /// Authorities of the server's certificate in place of the system's.
    pub root_certificate: Option<PathBuf>,
    /// As whom, and to which of its databases.
    pub login: RedisConnectionInfo,
}

impl RedisUrl {
    /// Reads `redis://user:password@host:6379/0`, or `rediss://…?ca_file=ca.pem` for TLS.
    ///
    /// # Errors
    /// Why it is none. Nothing of it is repeated.
    pub fn parse(url: &str) -> Result<Self, String> {
        const UNREADABLE: &str = "its host, its port or its database cannot be read; in names and passwords, @ is %40, / is %2F, ? is %3F, # is %23 and % is %25";
        let (rest, has_tls) = match (url.strip_prefix("redis://"), url.strip_prefix("rediss://")) {
            (Some(rest), _) => (rest, false),
            (_, Some(rest)) => (rest, true),
            _ => return Err("it begins with neither redis:// nor rediss://".to_owned()),
        };
        if rest.contains('#') {
            return Err("it has a #, which in passwords is %23".to_owned());
        }
        let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
        let root_certificate = match query.strip_prefix("ca_file=").filter(|file| !file.contains('&')) {
            _ if query.is_empty() => None,
            Some(file) if has_tls => {
                let file = percent_encoding::percent_decode_str(file).decode_utf8_lossy();
                Some(PathBuf::from(file.into_owned()))
            }
            Some(_) => return Err("`ca_file` means nothing without TLS, which is rediss://".to_owned()),
            None => {
                return Err(
                    "it has a ?, which only `?ca_file=FILE` may follow; in passwords it is %3F".to_owned()
                );
            }
        };
        // What is wrong there may be a part of the password.
        let server = format!("redis://{base}").into_connection_info().map_err(|_| UNREADABLE.to_owned())?;
        let (ConnectionAddr::Tcp(host, port), login) = (server.addr(), server.redis_settings()) else {
            return Err(UNREADABLE.to_owned());
        };
        if login.db() < 0 {
            return Err("the number of its database is negative".to_owned());
        }
        Ok(Self {
            written: Secret::new(url),
            host: host.clone(),
            port: *port,
            has_tls,
            root_certificate,
            login: login.clone(),
        })
    }

    /// Whether whoever can listen on the way to it reads its password.
    #[must_use]
    pub fn tells_its_password(&self) -> bool {
        let is_here =
            self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        self.login.password().is_some() && !self.has_tls && !is_here
    }
}

/// Two are one that are written alike.
impl PartialEq for RedisUrl {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for RedisUrl {}

/// Names it to people: `redis://user@host:port/0`, without its password.
impl fmt::Display for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.has_tls { "rediss://" } else { "redis://" })?;
        if let Some(user) = self.login.username() {
            write!(formatter, "{user}@")?;
        }
        // An IPv6 address.
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(formatter, "{open}{}{close}:{}/{}", self.host, self.port, self.login.db())
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RedisUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_shown_without_its_password() {
        let parsed =
            RedisUrl::parse("rediss://me:s3cret%40%23@redis.example:7000/3?ca_file=%2Fetc%2Fca.pem").unwrap();
        assert_eq!((parsed.host.as_str(), parsed.port, parsed.has_tls), ("redis.example", 7000, true));
        assert_eq!((parsed.login.username(), parsed.login.password()), (Some("me"), Some("s3cret@#")));
        assert_eq!((parsed.login.db(), parsed.root_certificate.clone()), (3, Some("/etc/ca.pem".into())));
        assert_eq!(parsed.to_string(), "rediss://me@redis.example:7000/3");
        assert!(!format!("{parsed:?}").contains("s3cret"));
        for (url, shown) in [
            ("redis://127.0.0.1", "redis://127.0.0.1:6379/0"),
            ("redis://:s3cret@localhost:1/", "redis://localhost:1/0"),
            ("redis://[::1]:7/2", "redis://[::1]:7/2"),
            ("rediss://r.example", "rediss://r.example:6379/0"),
        ] {
            assert_eq!(RedisUrl::parse(url).unwrap().to_string(), shown);
        }
        assert_ne!(RedisUrl::parse("redis://:a@h").unwrap(), RedisUrl::parse("redis://:b@h").unwrap());
    }

    #[test]
    fn a_password_in_the_clear_is_seen() {
        let tells = |url| RedisUrl::parse(url).unwrap().tells_its_password();
        assert!(tells("redis://:p@redis.example") && tells("redis://u:p@10.0.0.1:1/1"));
        for kept in
            ["rediss://:p@redis.example", "redis://redis.example", "redis://:p@127.0.0.2", "redis://:p@[::1]"]
        {
            assert!(!tells(kept), "{kept}");
        }
    }

    #[test]
    fn what_is_no_url_is_told_without_it() {
        for url in [
            "",
            "redis:",
            "redis://",
            "s3cret",
            "http://:s3cret@host",
            "redis+unix:///s3cret",
            "redis://:s3cret@host:port",
            "redis://:s3cret@host/s3cret",
            "redis://:s3cret@host/-1",
            "redis://:s3cret@host:99999",
            "redis://me:s3/cret@host/0",
            "redis://:s3cret#x@host",
            "redis://:s3cret?x@host",
            "rediss://:s3cret@host/0#insecure",
            "redis://host?ca_file=s3cret",
            "rediss://host?ca_file=s3cret&protocol=resp3",
            "rediss://host?protocol=s3cret",
            "redis://0.0.0.0",
        ] {
            let why = RedisUrl::parse(url).unwrap_err();
            assert!(!why.is_empty() && !why.contains("s3cret"), "{url}: {why}");
        }
    }
}
