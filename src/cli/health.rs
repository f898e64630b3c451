//! `pointsman health`: whether a gateway is ready, for health checks where nothing else can ask.

use std::{io::Write, time::Duration};

use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, Uri, header};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};
use tokio_util::task::TaskTracker;

use super::output::Failure;

const READY: &str = "/health/ready";

/// Ask a running gateway whether it is ready: status 0 when it is, 1 when it is not
///
/// For container health checks: the image has no curl. A gateway that is ready serves requests; one that starts, or ends
/// after SIGTERM, is not.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman health
  pointsman health http://127.0.0.1:9090/health/live --timeout 2")]
pub(super) struct Arguments {
    /// What is asked, `/health/ready` where it has no path; of a listener with TLS, ask the operators' (`admin_listen`) instead
    #[arg(default_value = "http://127.0.0.1:8080/health/ready", value_name = "URL")]
    url: Uri,

    /// How long it may take, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=300), value_name = "SECONDS")]
    timeout: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let url = &arguments.url;
    let Some(authority) = url.authority().filter(|_| url.scheme_str() == Some("http")) else {
        return Err(Failure::Usage(format!("{url} is no http:// URL")));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let time = Duration::from_secs(arguments.timeout);
    let host = authority.host().trim_matches(['[', ']']);
    let asked = runtime
        .map_err(Failure::because)?
        .block_on(async { timeout(time, ask(url, (host, authority.port_u16().unwrap_or(80)))).await });
    match asked {
        Ok(Ok(status)) if status.is_success() => {
            writeln!(std::io::stdout().lock(), "ready")?;
            Ok(())
        }
        Ok(Ok(status)) => Err(Failure::Because(format!("not ready: {url} answers with status {status}"))),
        Ok(Err(why)) => Err(Failure::Because(format!("no answer from {url}: {why}"))),
        Err(_) => Err(Failure::Because(format!("no answer from {url} within {} s", arguments.timeout))),
    }
}

async fn ask(
    url: &Uri,
    address: (&str, u16),
) -> Result<StatusCode, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    TaskTracker::new().spawn(async { drop(connection.await) });
    let host = url.authority().map_or("", |authority| authority.as_str());
    // Where none is named, what is asked is what is meant.
    let path = url.path_and_query().map(|path| path.as_str()).filter(|path| *path != "/").unwrap_or(READY);
    let request = Request::get(path).header(header::HOST, host).body(Empty::<Bytes>::new())?;
    Ok(sender.send_request(request).await?.status())
}
