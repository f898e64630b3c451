//! One file over HTTP: gone on with where it was cut, and whole only when its checksum is right.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::client::{Answer, Fault, HubClient, causes};
use super::{Checksum, Progress, PullError, PulledFile, Wanted, digest};

/// Attempts in a row that bring nothing.
const FRUITLESS_MAX: u32 = 5;
/// Longest silence in the middle of a file.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A file to be fetched.
pub(super) struct Download<'a> {
    pub(super) client: &'a HubClient,
    /// The first pause between two attempts.
    pub(super) pause: Duration,
    pub(super) uri: Uri,
    pub(super) wanted: Wanted,
    /// Where it gathers.
    pub(super) part: PathBuf,
    /// The checksum that it must have.
    pub(super) pin: Option<Checksum>,
}

/// How an attempt ended.
enum End {
    /// All bytes are here.
    Whole(Option<Checksum>),
    /// There is no such file.
    Absent,
}

impl Download<'_> {
    /// Fetches the file into its place; `None` when the hub has none.
    pub(super) async fn run(
        &self,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Option<PulledFile>, PullError> {
        let mut fruitless = 0;
        let mut was_resumed = self.length().await > 0;
        loop {
            let before = self.length().await;
            match self.attempt(before, progress).await {
                Ok(End::Absent) => return Ok(None),
                Ok(End::Whole(named)) => match self.verified(named) {
                    Err(PullError::Checksum { .. }) if was_resumed => {
                        // The beginning may be that of another version.
                        tracing::warn!("{}: the parts do not fit together, starting over", self.wanted.path);
                        was_resumed = false;
                        self.forget().await?;
                    }
                    Err(error) => {
                        self.forget().await?;
                        return Err(error);
                    }
                    Ok(file) => return Ok(Some(file)),
                },
                Err(Fault::Lasting(error)) => return Err(error),
                Err(Fault::Passing(reason)) => {
                    let bytes = self.length().await;
                    fruitless = if bytes > before { 1 } else { fruitless + 1 };
                    was_resumed |= bytes > 0;
                    if fruitless >= FRUITLESS_MAX {
                        return Err(PullError::Interrupted { file: self.wanted.path, bytes, reason });
                    }
                    tracing::warn!("{}: {reason}; trying again after {bytes} bytes", self.wanted.path);
                    tokio::time::sleep(self.pause * 2u32.pow(fruitless - 1)).await;
                }
            }
        }
    }

    async fn attempt(&self, here: u64, progress: &mut dyn FnMut(Progress)) -> Result<End, Fault> {
        let etag = self.etag().await;
        let answer = self.client.get(&self.uri, &resuming(here, etag.as_ref()), self.wanted.path).await?;
        if let (Some(pin), Some(named)) = (&self.pin, &answer.checksum)
            && pin != named
        {
            return Err(Fault::Lasting(self.mismatch(pin, named.as_str())));
        }
        let Answer { response, host, checksum } = answer;
        let status = response.status();
        match status {
            StatusCode::OK => self.receive(response, 0, progress).await?,
            StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(here) => {
                self.receive(response, here, progress).await?;
            }
            // What is here is the whole file; or it fits nothing that is there, and another request will not ask for
            // a part.
            StatusCode::RANGE_NOT_SATISFIABLE if range_total(&response) == Some(here) => {}
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT => {
                self.forget().await.map_err(Fault::Lasting)?;
                return Err(Fault::Passing("the server has another range than was asked for".to_owned()));
            }
            StatusCode::NOT_FOUND => return Ok(End::Absent),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let (file, status) = (self.wanted.path, status.as_u16());
                return Err(Fault::Lasting(PullError::Refused { host, file, status }));
            }
            busy if busy.is_server_error() || busy == StatusCode::TOO_MANY_REQUESTS => {
                return Err(Fault::Passing(format!("{host} answered {busy}")));
            }
            other => {
                let what = format!("status {other}");
                return Err(Fault::Lasting(PullError::Answer { host, what, file: self.wanted.path }));
            }
        }
        Ok(End::Whole(checksum))
    }

    /// Takes a body that begins at byte `from` of the file.
    async fn receive(
        &self,
        response: Response<Incoming>,
        from: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Fault> {
        let file = self.wanted.path;
        let length = hyper::body::Body::size_hint(response.body()).exact();
        let bytes_total = length.map(|length| from + length);
        let too_large = || PullError::TooLarge { file, bytes_max: self.wanted.bytes_max };
        if bytes_total.is_some_and(|total| total > self.wanted.bytes_max) {
            return Err(Fault::Lasting(too_large()));
        }
        let mut out =
            self.open(&response, from).await.map_err(|error| Fault::Lasting(self.at_part(error)))?;
        let mut body = response.into_body();
        let mut bytes = from;
        progress(Progress { file, bytes, bytes_total });
        let cut = loop {
            match tokio::time::timeout(SILENCE_MAX, body.frame()).await {
                Err(_) => break Some(format!("nothing came for {} s", SILENCE_MAX.as_secs())),
                Ok(None) => break None,
                Ok(Some(Err(error))) => break Some(causes(&error)),
                Ok(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    bytes += data.len() as u64;
                    if bytes > self.wanted.bytes_max {
                        return Err(Fault::Lasting(too_large()));
                    }
                    out.write_all(&data).await.map_err(|error| Fault::Lasting(self.at_part(error)))?;
                    progress(Progress { file, bytes, bytes_total });
                }
            }
        };
        out.flush().await.map_err(|error| Fault::Lasting(self.at_part(error)))?;
        cut.map_or(Ok(()), |reason| Err(Fault::Passing(reason)))
    }

    /// Opens the part for what comes, and remembers which version of the file it belongs to.
    async fn open(&self, response: &Response<Incoming>, from: u64) -> std::io::Result<File> {
        if from > 0 {
            return OpenOptions::new().append(true).open(&self.part).await;
        }
        let file = File::create(&self.part).await?;
        match response.headers().get(header::ETAG).filter(|etag| !etag.as_bytes().starts_with(b"W/")) {
            Some(etag) => tokio::fs::write(self.etag_path(), etag.as_bytes()).await?,
            None => remove(&self.etag_path()).await?,
        }
        Ok(file)
    }

    /// What is here, if it is what it should be.
    fn verified(&self, named: Option<Checksum>) -> Result<PulledFile, PullError> {
        let (bytes, sha256) = digest(&self.part)?;
        let expected = self.pin.clone().or(named);
        match &expected {
            Some(expected) if expected.as_str() != sha256 => Err(self.mismatch(expected, &sha256)),
            _ => Ok(PulledFile { file: self.wanted.path, bytes, sha256, verified: expected.is_some() }),
        }
    }

    fn mismatch(&self, expected: &Checksum, found: &str) -> PullError {
        let (expected, found) = (expected.as_str().to_owned(), found.to_owned());
        PullError::Checksum { file: self.wanted.path, expected, found }
    }

    async fn length(&self) -> u64 {
        tokio::fs::metadata(&self.part).await.map_or(0, |metadata| metadata.len())
    }

    async fn etag(&self) -> Option<HeaderValue> {
        let bytes = tokio::fs::read(self.etag_path()).await.ok()?;
        HeaderValue::from_bytes(&bytes).ok()
    }

    fn etag_path(&self) -> PathBuf {
        self.part.with_extension("etag")
    }

    /// Starts over.
    async fn forget(&self) -> Result<(), PullError> {
        for path in [&self.part, &self.etag_path()] {
            remove(path).await.map_err(|source| PullError::File { path: path.clone(), source })?;
        }
        Ok(())
    }

    fn at_part(&self, source: std::io::Error) -> PullError {
        PullError::File { path: self.part.clone(), source }
    }
}

async fn remove(path: &Path) -> std::io::Result<()> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The headers that ask for what is not here yet, of the version that is here and no other. Without a strong ETag
/// nothing ties the parts together, and all is asked for.
fn resuming(here: u64, etag: Option<&HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let range = HeaderValue::from_str(&format!("bytes={here}-"));
    if let (true, Some(etag), Ok(range)) = (here > 0, etag, range) {
        headers.insert(header::RANGE, range);
        headers.insert(header::IF_RANGE, etag.clone());
    }
    headers
}

/// `Content-Range: bytes 10-99/100` starts at 10.
fn range_start(response: &Response<Incoming>) -> Option<u64> {
    let (start, _) = content_range(response)?.split_once('-')?;
    start.parse().ok()
}

/// `Content-Range: bytes */100` is of 100 bytes.
fn range_total(response: &Response<Incoming>) -> Option<u64> {
    content_range(response)?.strip_prefix("*/")?.parse().ok()
}

fn content_range(response: &Response<Incoming>) -> Option<&str> {
    response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")
}
