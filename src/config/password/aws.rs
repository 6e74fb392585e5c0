//! [`AwsAuth`]: `auth.aws` of a Redis, whose passwords are tokens of AWS IAM.

use crate::config::keys;
use crate::config::place::ConfigProblem;
use crate::config::value::{Table, Value, ValueKind, unless};

/// The login at a cache of AWS by IAM.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AwsAuth {
    /// The name of the cluster or of the serverless cache.
    pub cluster: String,
    /// The user, by its name and ID, which are the same for IAM.
    pub user: String,
    /// The region, if the environment does not give it.
    pub region: Option<String>,
    /// The service of the cache.
    pub service: AwsService,
    /// `true` for a serverless cache.
    pub serverless: bool,
}

named! {
    /// The services with caches, by their names in a signature.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
    pub enum AwsService {
        /// `ElastiCache`, for Redis OSS and Valkey.
        ElastiCache = "elasticache",
        /// `MemoryDB`.
        MemoryDb = "memorydb",
    }
}

/// The settings in `auth`.
pub(super) fn read(auth: &Value) -> Result<AwsAuth, ConfigProblem> {
    let aws = table(auth, keys::AUTH)?.get("aws").ok_or_else(|| auth.problem(FORM))?;
    let table = table(aws, keys::AWS)?;
    let text = |key: &str, is_special: fn(u8) -> bool, form: &str| {
        let Some(value) = table.get(key) else { return Ok(None) };
        let text = value.text()?;
        let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || is_special(byte);
        unless(text.is_empty() || !text.bytes().all(is_valid), value, form)?;
        Ok(Some(text.to_owned()))
    };
    let name = |byte| byte == b'-';
    let cluster = text("cluster", name, "`cluster` must be the name in lower case, and not the address")?;
    let user = text("user", |byte| byte.is_ascii_graphic(), "`user` must be the name of the user")?;
    let region = text("region", name, "`region` must be the name of a region, such as \"eu-west-1\"")?;
    let services = AwsService::ALL.map(|service| (service.name(), service));
    let service = table.get("service").map(|value| value.word("service", &services)).transpose()?;
    let service = service.unwrap_or(AwsService::ElastiCache);
    let mut serverless = false;
    if let Some(value) = table.get("serverless") {
        serverless = value.boolean().ok_or_else(|| value.problem("`serverless` must be true or false"))?;
        let is_none = serverless && service == AwsService::MemoryDb;
        unless(is_none, value, "MemoryDB has no serverless caches; remove this, or `service`")?;
    }
    let (Some(cluster), Some(user)) = (cluster, user) else { return Err(aws.problem(FORM)) };
    Ok(AwsAuth { cluster, user, region, service, serverless })
}

const FORM: &str = "`auth` must be a table with the names of a cache and its user, { aws = { cluster = \"my-cache\", user = \"canary\" } }";

fn table<'a>(value: &'a Value, known: &[keys::Key]) -> Result<&'a Table, ConfigProblem> {
    let ValueKind::Table(table) = &value.kind else { return Err(value.problem(FORM)) };
    table.only(known)?;
    Ok(table)
}
