//! The properties of calls.

#![allow(clippy::expect_used, reason = "a property that does not hold panics")]

use axum::body::Body;
use http_body_util::{BodyExt as _, Collected};

use super::messages::HealthCheckRequest;
use super::wire;
use crate::cache::scripted::within;

pub(in crate::http) fn call(body: &[u8]) {
    let read =
        |body: Body| within(16, wire::message::<HealthCheckRequest>(body)).expect("all of it is there");
    let service = String::from_utf8_lossy(body).into_owned();
    let written = HealthCheckRequest { service };
    for message in [read(body.to_vec().into()).ok(), Some(written)].into_iter().flatten() {
        let framed = within(16, wire::answer(&message).into_body().collect()).expect("all of it is there");
        let framed = framed.map(Collected::to_bytes).expect("it cannot fail");
        assert_eq!(read(framed.into()).ok(), Some(message));
    }
}
