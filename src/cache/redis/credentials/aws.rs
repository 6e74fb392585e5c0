//! Tokens of AWS IAM: a presigned request `connect`, without its scheme (Amazon ElastiCache User Guide, "Authenticating
//! with IAM"). The signature is "Signature Version 4" of the IAM User Guide, computed with `ring`, which TLS has anyway:
//! AWS' own crate for it brings 28 others. A test compares the tokens with those of botocore.

use std::env;
use std::error::Error;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use axum::http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use humantime::{format_duration, format_rfc3339_seconds};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{digest, hmac};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{LIMIT, MOST_BYTES, refused, time};
use crate::cache::dial::{Stream, client_config, connect_beside, in_words};
use crate::config::{AwsAuth, MintFailure, Secret, Tls};
use crate::outcome::printable;
use crate::redaction::{self, Redaction};

/// The life of a token, the longest that AWS allows.
const LIFE: Duration = Duration::from_mins(15);

/// The hosts of credentials on ECS and EKS, which besides loopback need no TLS (AWS SDKs Reference Guide, "Container
/// credential provider").
const NEAR: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The characters that are percent-encoded in a signed request.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The keys that sign a request.
struct Keys {
    id: String,
    secret: String,
    session: Option<String>,
    expires: Option<SystemTime>,
}

/// A token, and its expiry.
pub(super) async fn token(auth: &AwsAuth) -> Result<(Secret, Option<SystemTime>), MintFailure> {
    const NO_REGION: &str = "has no region; set `region` beside `cluster`, or AWS_REGION in the environment";
    let region = auth.region.clone().or_else(|| variable("AWS_REGION"));
    let region = region.or_else(|| variable("AWS_DEFAULT_REGION")).ok_or(NO_REGION)?;
    let late = |_| format!("got no credentials within {}", format_duration(LIMIT));
    let keys = timeout(LIMIT, keys(&region)).await.map_err(late)??;
    let now = SystemTime::now();
    let expires = keys.expires.map_or(now + LIFE, |expires| expires.min(now + LIFE));
    Ok((presigned(auth, &region, &keys, now).into(), Some(expires)))
}

/// A variable of the environment that is set and not empty.
fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The keys, from the first source in the environment, in the order of AWS' SDKs.
async fn keys(region: &str) -> Result<Keys, MintFailure> {
    const NONE: &str = "has no credentials; set AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE or \
                        AWS_CONTAINER_CREDENTIALS_FULL_URI in the environment, as AWS' SDKs read them";
    if let Some(id) = variable("AWS_ACCESS_KEY_ID") {
        let secret = variable("AWS_SECRET_ACCESS_KEY").ok_or("has a key ID without AWS_SECRET_ACCESS_KEY")?;
        return Ok(Keys { id, secret, session: variable("AWS_SESSION_TOKEN"), expires: None });
    }
    if let Some(file) = variable("AWS_WEB_IDENTITY_TOKEN_FILE") {
        let role = variable("AWS_ROLE_ARN").ok_or("has AWS_WEB_IDENTITY_TOKEN_FILE without AWS_ROLE_ARN")?;
        return of_role(read(&file)?, &role, region).await;
    }
    let of_task =
        variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|path| format!("http://{}{path}", NEAR[0]));
    let uri = uri(&of_task.or_else(|| variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")).ok_or(NONE)?)?;
    let file = variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(|file| read(&file)).transpose()?;
    let token = file.or_else(|| variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"));
    let host = host(&uri);
    let is_loopback = host.parse().map_or(host == "localhost", |ip: IpAddr| ip.is_loopback());
    if uri.scheme_str() != Some("https") && !is_loopback && !NEAR.contains(&host) {
        return Err(format!("asks {host} for no credentials without TLS; begin the URL with https://").into());
    }
    let text = answer(&uri, token, None).await?;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    keys_in(&uri, |name| json[name].as_str().map(str::to_owned))
}

/// The keys of a role, from AWS STS (AWS STS API Reference, `AssumeRoleWithWebIdentity`).
async fn of_role(token: String, role: &str, region: &str) -> Result<Keys, MintFailure> {
    let session = variable("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "cache-canary".to_owned());
    let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
    let url = variable("AWS_ENDPOINT_URL_STS").or_else(|| variable("AWS_ENDPOINT_URL"));
    let uri = uri(&url.unwrap_or_else(|| format!("https://sts.{region}.amazonaws.com{suffix}")))?;
    let parts = [("RoleArn", role), ("RoleSessionName", &session), ("WebIdentityToken", &token)];
    let form = format!("Action=AssumeRoleWithWebIdentity&Version=2011-06-15&{}", parts.map(pair).join("&"));
    let text = answer(&uri, Some(token), Some(form)).await?;
    keys_in(&uri, |name| element(&text, name))
}

/// The keys in a response, by the names of their parts: `Token` is the name for containers, `SessionToken` that of STS.
fn keys_in(uri: &Uri, part: impl Fn(&str) -> Option<String>) -> Result<Keys, MintFailure> {
    let expires = part("Expiration").and_then(|expires| time(&expires));
    let session = part("SessionToken").or_else(|| part("Token"));
    match (part("AccessKeyId"), part("SecretAccessKey")) {
        (Some(id), Some(secret)) => Ok(Keys { id, secret, session, expires }),
        (None, _) | (_, None) => Err(format!("got a response without credentials from {}", host(uri)).into()),
    }
}

/// The text of the first element of this name. The elements with keys have neither attributes nor entities.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(text, _)| text.trim().to_owned())
}

/// The token in a file.
fn read(file: &str) -> Result<String, MintFailure> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    Ok(text.trim().to_owned())
}

fn uri(url: &str) -> Result<Uri, MintFailure> {
    let uri = url.parse().ok().filter(|uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https")));
    uri.ok_or_else(|| "has a variable for credentials that is no http or https URL".into())
}

/// The host, where an IPv6 address has no brackets.
fn host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

/// The body of a successful response to a request with this secret: a token of authorization, or a part of the form.
async fn answer(uri: &Uri, secret: Option<String>, form: Option<String>) -> Result<String, MintFailure> {
    let redaction = secret.clone().map(|secret| Redaction::of_secret(secret.into())).unwrap_or_default();
    let failed = |error: AskError| {
        let what = format!("cannot get credentials from {}", host(uri));
        match error.downcast_ref::<io::Error>() {
            Some(error) => refused(&what, error),
            None => format!("{what}: {error}").into(),
        }
    };
    let (status, body) = ask(uri, secret, form).await.map_err(failed)?;
    if (200..300).contains(&status) {
        return Ok(body);
    }
    let said =
        element(&body, "Message").or_else(|| Some(body.lines().next()?.to_owned())).unwrap_or_default();
    let said = Some(printable(&redaction.text(&said))).filter(|said| !said.is_empty());
    let what = format!("got status {status} from {}, not credentials", host(uri));
    Err(MintFailure { what, said, is_own: false })
}

type AskError = Box<dyn Error + Send + Sync>;

async fn ask(uri: &Uri, secret: Option<String>, form: Option<String>) -> Result<(u16, String), AskError> {
    let (host, is_tls) = (host(uri), uri.scheme_str() == Some("https"));
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let tcp = connect_beside(host, port, LIMIT).await?;
    let stream: Box<dyn Stream> = if is_tls {
        let tls = Tls { ca_file: variable("AWS_CA_BUNDLE").map(Into::into), ..Tls::default() };
        let tls = TlsConnector::from(Arc::new(client_config(&tls)?));
        Box::new(tls.connect(ServerName::try_from(host.to_owned())?, tcp).await.map_err(in_words)?)
    } else {
        Box::new(tcp)
    };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = match (&form, secret) {
        (Some(_), _) => Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded"),
        (None, Some(token)) => Request::get(path).header(header::AUTHORIZATION, token),
        (None, None) => Request::get(path),
    };
    let request = request.header(header::HOST, uri.authority().map_or(host, |authority| authority.as_str()));
    let request = request.body(Full::new(Bytes::from(form.unwrap_or_default())))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // An error of the connection also fails the request below.
    tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), usize::try_from(MOST_BYTES)?).collect().await?;
    Ok((status, redaction::raw(&body.to_bytes())))
}

/// A parameter, encoded.
fn pair((name, value): (&str, &str)) -> String {
    format!("{name}={}", utf8_percent_encode(value, ENCODED))
}

/// The token for this time, with its parameters in the order of botocore's.
fn presigned(auth: &AwsAuth, region: &str, keys: &Keys, now: SystemTime) -> String {
    let AwsAuth { cluster, user, service, serverless, region: _ } = auth;
    let time = format_rfc3339_seconds(now).to_string().replace(['-', ':'], "");
    let parts = [&time[..8], region, service.name(), "aws4_request"];
    let (life, scope) = (LIFE.as_secs().to_string(), parts.join("/"));
    let credential = format!("{}/{scope}", keys.id);
    let mut query = vec![("Action", "connect"), ("User", user)];
    query.extend(serverless.then_some(("ResourceType", "ServerlessCache")));
    query.extend([("X-Amz-Algorithm", ALGORITHM), ("X-Amz-Credential", &credential), ("X-Amz-Date", &time)]);
    query.extend([("X-Amz-Expires", &*life), ("X-Amz-SignedHeaders", "host")]);
    query.extend(keys.session.as_deref().map(|session| ("X-Amz-Security-Token", session)));
    let query: Vec<_> = query.into_iter().map(pair).collect();
    let mut sorted = query.clone();
    sorted.sort();
    let hash = |text: &str| hex(digest::digest(&digest::SHA256, text.as_bytes()));
    let request = format!("GET\n/\n{}\nhost:{cluster}\n\nhost\n{}", sorted.join("&"), hash(""));
    let sign = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let mut key = format!("AWS4{}", keys.secret).into_bytes();
    for part in parts {
        key = sign(&key, part).as_ref().to_vec();
    }
    let signature = hex(sign(&key, &format!("{ALGORITHM}\n{time}\n{scope}\n{}", hash(&request))));
    format!("{cluster}/?{}&X-Amz-Signature={signature}", query.join("&"))
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::super::time;
    use super::*;
    use crate::config::AwsService;

    /// The tokens that botocore signs, which `tests/redis/aws.rs` compares.
    const TOKENS: &str = include_str!("../../../../tests/redis/aws_tokens.txt");

    #[test]
    fn a_token_is_the_one_that_botocore_signs() {
        for line in TOKENS.lines() {
            let parts: Vec<_> = line.split(' ').collect();
            let [service, cluster, user, region, kind, id, secret, session, at, token] = parts[..] else {
                panic!("ten parts: {line}")
            };
            let service = AwsService::ALL.into_iter().find(|known| known.name() == service).unwrap();
            let (cluster, user) = (cluster.to_owned(), user.to_owned());
            let auth = AwsAuth { cluster, user, region: None, service, serverless: kind == "serverless" };
            let session = Some(session.to_owned()).filter(|session| session != "-");
            let keys = Keys { id: id.to_owned(), secret: secret.to_owned(), session, expires: None };
            assert_eq!(presigned(&auth, region, &keys, time(at).unwrap()), token);
        }
        assert_eq!(TOKENS.lines().count(), 6);
    }
}
