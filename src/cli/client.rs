//! The client of HTTP of the commands: one request on a connection of its own, perhaps with TLS.

use std::io;

use axum::http::{Request, header, request};
use http_body_util::Empty;
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::{InvalidDnsNameError, ServerName};

use crate::cache::{Stream, in_words};

/// The reason why there is no connection.
pub(super) enum ConnectError {
    Tcp(io::Error),
    /// The host is not a name that a certificate can have.
    Name(InvalidDnsNameError),
    Tls(io::Error),
}

/// Connects to the host of a URL. All streams are of one type, so that the large code for HTTP over it is compiled once.
pub(super) async fn connect(
    host: &str,
    port: u16,
    tls: Option<&TlsConnector>,
) -> Result<Box<dyn Stream>, ConnectError> {
    // An IPv6 address has brackets in a URL, and none in a connect.
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let tcp: Box<dyn Stream> = Box::new(TcpStream::connect((bare, port)).await.map_err(ConnectError::Tcp)?);
    let Some(tls) = tls else { return Ok(tcp) };
    let name = ServerName::try_from(bare.to_owned()).map_err(ConnectError::Name)?;
    let stream = tls.connect(name, tcp).await.map_err(|error| ConnectError::Tls(in_words(error)))?;
    Ok(Box::new(stream))
}

/// A GET on a connection that is closed after it.
pub(super) fn get(path: &str, authority: &str) -> request::Builder {
    Request::get(path)
        .header(header::HOST, authority)
        .header(header::CONNECTION, "close")
        .header(header::USER_AGENT, concat!("cache-canary/", env!("CARGO_PKG_VERSION")))
}

/// Sends a request, and returns the response when its head is there.
pub(super) async fn send(
    stream: Box<dyn Stream>,
    request: Request<Empty<Bytes>>,
) -> hyper::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // An error of the connection also fails the request below.
    tokio::spawn(connection);
    sender.send_request(request).await
}
