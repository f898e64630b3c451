//! One connection of a scripted upstream, encrypted or not.

use std::{io, sync::Arc};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Stream for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// A connection, and what was read of it too early.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    early: Vec<u8>,
}

impl Wire {
    pub(super) async fn accept(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(tls) => Box::new(TlsAcceptor::from(tls).accept(stream).await?),
        };
        Ok(Self { stream, early: Vec::new() })
    }

    /// The next request's head and body; `None` when the peer sends no more.
    pub(super) async fn request(&mut self) -> Option<(String, Vec<u8>)> {
        let head_end = loop {
            if let Some(at) = self.early.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            self.read_more().await?;
        };
        let head = String::from_utf8(self.early.drain(..head_end).collect()).unwrap();
        self.early.drain(..4);
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, value)| value.parse().unwrap());
        while self.early.len() < length {
            self.read_more().await?;
        }
        Some((head, self.early.drain(..length).collect()))
    }

    async fn read_more(&mut self) -> Option<usize> {
        self.stream.read_buf(&mut self.early).await.ok().filter(|&read| read > 0)
    }

    /// Waits until the peer has closed or reset the connection.
    pub(super) async fn closed(&mut self) {
        while self.read_more().await.is_some() {}
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Ends the sending direction alone.
    pub(super) async fn half_close(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Makes the end of the connection a reset.
    pub(super) fn reset(&mut self) {
        self.stream.tcp().set_zero_linger().unwrap();
    }
}
