//! The way out: direct, or through the HTTP proxy that the environment names (`HTTP_PROXY`, `HTTPS_PROXY`,
//! `ALL_PROXY`, `NO_PROXY`, read as curl reads them).

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Uri, uri::Scheme};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::{
        legacy::connect::{Connected, Connection, HttpConnector, proxy::Tunnel},
        proxy::matcher::Matcher,
    },
    rt::TokioIo,
};
use tokio::net::TcpStream;
use tower_service::Service;

/// Any reason why no connection came about.
pub type ConnectError = Box<dyn std::error::Error + Send + Sync>;

type Connecting<T> = Pin<Box<dyn Future<Output = Result<T, ConnectError>> + Send>>;

/// Opens TCP connections to upstreams, or to the proxy on the way to them.
#[derive(Clone)]
pub struct Egress {
    tcp: HttpConnector,
    proxies: Arc<Matcher>,
}

impl std::fmt::Debug for Egress {
    /// A proxy's address may hold a password.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Egress")
    }
}

impl Egress {
    /// A way out past `proxies`. The addresses of a host share `connect_timeout`, so that one that never answers
    /// leaves time for the next.
    #[must_use]
    pub fn new(proxies: Arc<Matcher>, connect_timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(connect_timeout));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // An upstream that vanished without a word is noticed after two minutes, if no timeout comes before.
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        tcp.set_keepalive_interval(Some(Duration::from_secs(15)));
        tcp.set_keepalive_retries(Some(4));
        Self { tcp, proxies }
    }
}

impl Service<Uri> for Egress {
    type Response = Via;
    type Error = ConnectError;
    type Future = Connecting<Via>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let mut tcp = self.tcp.clone();
        let Some(proxy) = self.proxies.intercept(&destination) else {
            let connecting = tcp.call(destination);
            return Box::pin(async move { Ok(Via { io: connecting.await?, by_proxy: false }) });
        };
        if proxy.uri().scheme() != Some(&Scheme::HTTP) {
            return Box::pin(async {
                Err("the environment names a proxy that does not begin with http://".into())
            });
        }
        let proxy_uri = proxy.uri().clone();
        if destination.scheme() == Some(&Scheme::HTTPS) {
            let mut tunnel = Tunnel::new(proxy_uri, tcp);
            if let Some(credentials) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(credentials.clone());
            }
            let connecting = tunnel.call(destination);
            return Box::pin(async move { Ok(Via { io: connecting.await?, by_proxy: false }) });
        }
        let connecting = tcp.call(proxy_uri);
        Box::pin(async move { Ok(Via { io: connecting.await?, by_proxy: true }) })
    }
}

/// A connection that knows whether a proxy reads its requests, which then carry the whole URL.
#[derive(Debug)]
pub struct Via {
    io: TokioIo<TcpStream>,
    by_proxy: bool,
}

impl Connection for Via {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.by_proxy)
    }
}

impl Read for Via {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Via {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, slices)
    }
}

/// The connection took longer than it may.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("connecting took longer than `timeouts.connect`")]
pub struct ConnectTimeout;

/// A connector with a deadline for everything it does: name lookup, TCP, proxy, TLS.
#[derive(Debug, Clone)]
pub struct Deadline<C> {
    inner: C,
    limit: Duration,
}

impl<C> Deadline<C> {
    /// Gives `inner` at most `limit`.
    pub fn new(inner: C, limit: Duration) -> Self {
        Self { inner, limit }
    }
}

impl<C> Service<Uri> for Deadline<C>
where
    C: Service<Uri>,
    C::Response: 'static,
    C::Error: Into<ConnectError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = ConnectError;
    type Future = Connecting<C::Response>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, destination: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.limit, self.inner.call(destination));
        Box::pin(async move {
            connecting.await.map_err(|_| ConnectError::from(ConnectTimeout))?.map_err(Into::into)
        })
    }
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    #[tokio::test]
    async fn connections_are_kept_alive_and_not_delayed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let mut egress = Egress::new(Arc::new(Matcher::builder().build()), Duration::from_secs(5));
        let via = egress.call(uri).await.unwrap();
        let stream = via.io.inner();
        assert!(stream.nodelay().unwrap());
        assert!(SockRef::from(stream).keepalive().unwrap());
    }
}
