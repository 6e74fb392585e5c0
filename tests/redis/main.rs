//! Redis: each way to one, and each state that a health check must see, in real servers and in those that lie.

#[path = "../support/mod.rs"]
mod support;

mod acl;
mod aws;
mod certificates;
mod cluster;
mod consensus;
mod credentials;
mod django;
mod expiry;
mod foreign;
mod hints;
mod identity;
mod late;
mod lies;
mod names;
mod proxies;
mod replicas;
mod sentinel;
mod shards;
mod slow;
mod states;
mod support_works;
mod tls;
