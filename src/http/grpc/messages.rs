//! The messages of the protocol, as its definition has them
//! (<https://github.com/grpc/grpc-proto/blob/master/grpc/health/v1/health.proto>).

use std::collections::BTreeMap;

use prost::{Enumeration, Message};

use super::service::HealthStatus;

#[derive(Clone, PartialEq, Message)]
pub(super) struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    pub(super) service: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct HealthCheckResponse {
    #[prost(enumeration = "ServingStatus", tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct HealthListResponse {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) statuses: BTreeMap<String, HealthCheckResponse>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
enum ServingStatus {
    Unknown = 0,
    Serving = 1,
    NotServing = 2,
    ServiceUnknown = 3,
}

impl From<HealthStatus> for HealthCheckResponse {
    fn from(health: HealthStatus) -> Self {
        let status = match health {
            HealthStatus::Serving => ServingStatus::Serving,
            HealthStatus::NotServing => ServingStatus::NotServing,
            HealthStatus::Unknown => ServingStatus::ServiceUnknown,
        };
        Self { status: status.into() }
    }
}
