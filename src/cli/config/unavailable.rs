//! The line of `config check` that names the caches whose fault can empty a load balancer.

use std::collections::HashSet;

use crate::alias::Alias;
use crate::catalog::{Catalog, Selection};
use crate::config::Config;

/// The most caches that are named for one path.
const NAMED: usize = 10;

/// The required caches by the paths that load balancers ask:
///
/// `if one of these caches is down, a load balancer drops every instance of the application: main, pages (by /health), main
/// (by /readyz)`
pub(super) fn line(config: &Config, catalog: &Catalog) -> String {
    let required: HashSet<_> =
        config.caches.iter().filter(|cache| cache.required).map(|cache| &cache.alias).collect();
    let required = |selection: &Selection| -> Vec<&str> {
        catalog.selected(selection).filter(|alias| required.contains(alias)).map(Alias::as_str).collect()
    };
    let everything = catalog.all();
    let group = config.groups.iter().find(|group| group.name == "readiness");
    let health = required(&everything);
    let ready = required(&group.map_or(everything, Selection::from));
    let caches = if health == ready {
        format!("{} (by /health and /readyz)", list(&health))
    } else {
        format!("{} (by /health), {} (by /readyz)", list(&health), list(&ready))
    };
    format!(
        "if one of these caches is down, a load balancer drops every instance of the application: {caches}"
    )
}

fn list(caches: &[&str]) -> String {
    let named = caches.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    match caches.len().saturating_sub(NAMED) {
        0 if caches.is_empty() => "none".to_owned(),
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
