//! Tokens of an identity provider in place of keys.

use std::{
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};

use crate::{
    answers::{answer, chat},
    client::{Reply, post},
    stand::{Setup, Stand},
    upstream::{Script, Upstream},
};

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// A key of an issuer's.
struct Signer {
    id: &'static str,
    algorithm: &'static str,
    public: Value,
    sign: Sign,
}

impl Signer {
    fn es256(id: &'static str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let public = json!({"kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "alg": "ES256", "x": encoded(x), "y": encoded(y)});
        let sign = Box::new(move |message: &[u8]| {
            pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
        });
        Self { id, algorithm: "ES256", public, sign }
    }

    fn eddsa(id: &'static str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let public = json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": encoded(pair.public_key())});
        let sign = Box::new(move |message: &[u8]| pair.sign(message).as_ref().to_vec());
        Self { id, algorithm: "EdDSA", public, sign }
    }

    /// `None` where there is no openssl to make one.
    fn rs256(id: &'static str, folder: &std::path::Path) -> Option<Self> {
        let file = folder.join("rsa.pem");
        let openssl = |arguments: &[&str]| {
            let output = Command::new("openssl").args(arguments).arg(&file).output().ok()?;
            output.status.success().then_some(output.stdout)
        };
        openssl(&["genrsa", "-out"])?;
        let modulus = String::from_utf8(openssl(&["rsa", "-noout", "-modulus", "-in"])?).unwrap();
        let digits = modulus.trim().strip_prefix("Modulus=")?.as_bytes();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let modulus: Vec<u8> = digits.chunks(2).map(byte).collect();
        let public = json!({"kty": "RSA", "kid": id, "n": encoded(modulus), "e": "AQAB"});
        let folder = folder.to_owned();
        let sign = Box::new(move |message: &[u8]| {
            std::fs::write(folder.join("message"), message).unwrap();
            let signed = Command::new("openssl")
                .args(["dgst", "-sha256", "-sign", "rsa.pem", "message"])
                .current_dir(&folder)
                .output()
                .unwrap();
            signed.stdout
        });
        Some(Self { id, algorithm: "RS256", public, sign })
    }

    fn token(&self, claims: &Value) -> String {
        self.token_as(self.algorithm, claims)
    }

    fn token_as(&self, algorithm: &str, claims: &Value) -> String {
        let header = json!({"alg": algorithm, "typ": "JWT", "kid": self.id});
        let message = format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()));
        let signature = encoded((self.sign)(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

/// An issuer, whose published keys can change.
struct Issuer {
    server: Upstream,
    keys: Arc<Mutex<Option<Vec<Value>>>>,
}

impl Issuer {
    async fn start(signers: &[&Signer]) -> Self {
        let keys = Arc::new(Mutex::new(None));
        let (published, address) = (Arc::clone(&keys), Arc::new(Mutex::new(String::new())));
        let base = Arc::clone(&address);
        let server = Upstream::playing(move |request| {
            let base = base.lock().unwrap().clone();
            match (request.target(), &*published.lock().unwrap()) {
                (_, None) => Script::json(503, "{}"),
                ("/v1/.well-known/openid-configuration", _) => Script::json(
                    200,
                    &json!({"issuer": base, "jwks_uri": format!("{base}/keys")}).to_string(),
                ),
                ("/v1/keys", Some(keys)) => Script::json(200, &json!({ "keys": keys }).to_string()),
                _ => Script::json(404, "{}"),
            }
        })
        .await;
        *address.lock().unwrap() = server.base_url();
        let issuer = Self { server, keys };
        issuer.publish(signers);
        issuer
    }

    fn publish(&self, signers: &[&Signer]) {
        let mut keys: Vec<Value> = signers.iter().map(|signer| signer.public.clone()).collect();
        // Of kinds that no token is to be signed with.
        keys.push(json!({"kty": "oct", "kid": "shared", "k": encoded("secret")}));
        *self.keys.lock().unwrap() = Some(keys);
    }

    fn claims(&self, tenant: &str) -> Value {
        json!({"iss": self.server.base_url(), "aud": "pointsman", "exp": seconds_from_now(600), "sub": "someone", "tenant": tenant})
    }

    async fn stand(&self, upstream: &Upstream) -> Stand {
        let issuer = self.server.base_url();
        Setup::new()
            .model("m", &upstream.base_url(), "price: {input: 0, output: 1}")
            .top(&format!("jwt: {{issuer: \"{issuer}\", audience: pointsman, project_claim: team}}"))
            .tenants(
                "{a: {pool: [m], projects: {p: {keys: [{key: key-p}], budget: {usd: 0.000003, per: total}}}}, b: {pool: [m], keys: [{key: key-b}]}}",
            )
            .start()
            .await
    }
}

fn seconds_from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + seconds
}

async fn ask(stand: &Stand, bearer: &str) -> Reply {
    let body = chat("m").replace("\"messages\"", "\"max_tokens\":3,\"messages\"");
    let mut request = post("/v1/chat/completions", body);
    request.headers_mut().insert("authorization", format!("Bearer {bearer}").parse().unwrap());
    stand.client().await.last(request).await
}

async fn status(stand: &Stand, bearer: &str) -> u16 {
    ask(stand, bearer).await.status.as_u16()
}

async fn upstream() -> Upstream {
    Upstream::start([Script::json(200, &answer("x"))]).await
}

#[tokio::test]
async fn a_token_stands_for_its_tenant_and_project() {
    let folder = tempfile::tempdir().unwrap();
    let mut signers = vec![Signer::es256("one"), Signer::eddsa("two")];
    match Signer::rs256("three", folder.path()) {
        Some(signer) => signers.push(signer),
        None => eprintln!("SKIPPED: RS256, for which openssl is needed"),
    }
    let (issuer, upstream) = (Issuer::start(&signers.iter().collect::<Vec<_>>()).await, upstream().await);
    let stand = issuer.stand(&upstream).await;
    for signer in &signers {
        assert_eq!(status(&stand, &signer.token(&issuer.claims("a"))).await, 200, "{}", signer.algorithm);
    }
    assert_eq!(
        stand.metric("pointsman_requests_total", &["tenant=\"a\"", "outcome=\"ok\""]),
        signers.len() as u64
    );
    assert_eq!(status(&stand, "key-b").await, 200, "keys go on to hold");
    // A token and a key of one project share its budget.
    let mut claims = issuer.claims("a");
    claims["team"] = "p".into();
    assert_eq!(status(&stand, &signers[0].token(&claims)).await, 200);
    assert_eq!(status(&stand, "key-p").await, 429);
}

#[tokio::test]
async fn a_token_names_a_tenant_of_the_store_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let signer = Signer::es256("one");
    let (issuer, upstream) = (Issuer::start(&[&signer]).await, upstream().await);
    let stand = Setup::new()
        .model("m", &upstream.base_url(), "")
        .top(&format!("jwt: {{issuer: \"{}\", audience: pointsman}}", issuer.server.base_url()))
        .top(&format!("database: \"sqlite:{}\"", path.display()))
        .start()
        .await;
    let token = signer.token(&issuer.claims("later"));
    assert_eq!(status(&stand, &token).await, 401);
    let store = pointsman::store::KeyStore::open(&pointsman::config::Database::Sqlite(path.clone())).unwrap();
    store.put_tenants(&[("later", r#"{"pool":["m"]}"#)]).unwrap();
    stand.app.refresh_stored().unwrap();
    assert_eq!(status(&stand, &token).await, 200);
    store.delete_tenant("later", true).unwrap();
    stand.app.refresh_stored().unwrap();
    assert_eq!(status(&stand, &token).await, 401);
}

#[tokio::test]
async fn what_is_wrong_with_a_token_is_refused() {
    let (signer, stranger) = (Signer::es256("one"), Signer::es256("one"));
    let (issuer, upstream) = (Issuer::start(&[&signer]).await, upstream().await);
    let stand = issuer.stand(&upstream).await;
    let with = |claim: &str, value: Value| {
        let mut claims = issuer.claims("a");
        claims[claim] = value;
        claims
    };
    let good = issuer.claims("a");
    let whole = signer.token(&good);
    let (message, _) = whole.rsplit_once('.').unwrap();
    let mut refused = vec![
        signer.token(&with("aud", "another".into())),
        signer.token(&with("exp", seconds_from_now(-600).into())),
        signer.token(&with("exp", "never".into())),
        signer.token(&with("nbf", seconds_from_now(600).into())),
        signer.token(&with("tenant", "nobody".into())),
        signer.token(&with("tenant", 7.into())),
        signer.token(&with("team", "unknown".into())),
        signer.token(&with("iss", "https://example.com".into())),
        stranger.token(&good),
        signer.token_as("EdDSA", &good),
        format!("{message}."),
        format!("{message}.{}", encoded([0; 64])),
        format!("{}.{}.", encoded(r#"{"alg":"none"}"#), encoded(good.to_string())),
        "eyJ..".to_owned(),
        format!("eyJ{}", "x".repeat(60_000)),
    ];
    for claim in ["exp", "aud", "iss", "tenant"] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(claim);
        refused.push(signer.token(&claims));
    }
    // Signed by the published key as if that were a shared secret.
    let public = signer.public["x"].as_str().unwrap().to_owned();
    let shared = Signer {
        id: "one",
        algorithm: "HS256",
        public: json!({}),
        sign: Box::new(move |message| {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, public.as_bytes());
            ring::hmac::sign(&key, message).as_ref().to_vec()
        }),
    };
    refused.push(shared.token(&good));
    let secret = Signer {
        id: "shared",
        sign: Box::new(|message| {
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"secret");
            ring::hmac::sign(&key, message).as_ref().to_vec()
        }),
        ..shared
    };
    refused.push(secret.token(&good));
    for token in refused {
        let mut reply = ask(&stand, &token).await;
        let text = reply.text().await;
        assert_eq!(reply.status, 401, "{}: {text}", &token[..token.len().min(300)]);
        assert!(!text.contains("eyJ"), "{text}");
    }
    assert_eq!(status(&stand, &whole).await, 200);
    assert_eq!(upstream.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn keys_are_rotated_and_outlive_their_issuer() {
    let (first, second) = (Signer::es256("first"), Signer::es256("second"));
    let (issuer, upstream) = (Issuer::start(&[&first]).await, upstream().await);
    let stand = issuer.stand(&upstream).await;
    let (by_first, by_second) = (first.token(&issuer.claims("a")), second.token(&issuer.claims("a")));
    *issuer.keys.lock().unwrap() = None;
    let reply = ask(&stand, &by_first).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, Some("1")));
    issuer.publish(&[&first]);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(status(&stand, &by_first).await, 200);
    assert_eq!(status(&stand, &by_second).await, 401);
    issuer.publish(&[&second]);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(status(&stand, &by_second).await, 200, "a key that was not known is looked for");
    assert_eq!(status(&stand, &by_first).await, 401, "and the one before it is none any more");
    *issuer.keys.lock().unwrap() = None;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let later = second.token(&issuer.claims("a"));
    assert_eq!(status(&stand, &later).await, 200, "while the issuer is away");
}
