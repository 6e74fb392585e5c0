//! Chains of forwarding caches: each must end at a cache that is there, and something must be left to check.

use std::collections::{HashMap, HashSet};

use crate::alias::Alias;
use crate::config::cache::Elsewhere;
use crate::config::cache::reader::CacheReader;
use crate::config::place::ConfigProblem;
use crate::config::value::nearest;
use crate::config::{Backend, CacheConfig};
use crate::outcome::{Forwarding, SkipReason};

/// A problem for each chain that is a loop or leads nowhere, or one if there is nothing to check, here or `elsewhere`.
pub(in crate::config) fn check(
    caches: &[(CacheReader, CacheConfig)],
    elsewhere: &[Elsewhere],
) -> Vec<ConfigProblem> {
    let others: HashSet<&Alias> = elsewhere.iter().map(|other| &other.alias).collect();
    let by_alias: HashMap<&Alias, &(CacheReader, CacheConfig)> =
        caches.iter().map(|cache| (&cache.0.alias, cache)).collect();
    let mut followed = HashSet::new();
    let mut problems = Vec::new();
    for (reading, _) in caches {
        let mut chain = vec![&reading.alias];
        let mut here = by_alias.get(&reading.alias);
        // An alias that was followed before is sound, or has its problem already.
        while let Some((
            reading,
            CacheConfig { backend: Backend::Unchecked(SkipReason::Forwards(Forwarding { to, .. })), .. },
        )) = here
            && followed.insert(&reading.alias)
        {
            let looped = chain.contains(&to);
            chain.push(to);
            here = by_alias.get(to);
            let what = if looped {
                "these caches forward to each other in a loop; one of them must forward to a real cache"
                    .to_owned()
            } else if here.is_none() && !others.contains(to) {
                missing(reading, to, by_alias.keys().copied().chain(others.iter().copied()))
            } else {
                continue;
            };
            let chain = chain.iter().map(|alias| alias.as_str()).collect::<Vec<_>>().join(" -> ");
            let place = reading.forwards.as_ref().unwrap_or(&reading.place);
            problems.push(place.problem(format_args!("{chain}: {what}")));
        }
    }
    if problems.is_empty() {
        let unknown = caches.iter().filter_map(|(reading, _)| reading.unknown.clone());
        let nothing = if others.is_empty() { nothing_to_check(caches) } else { None };
        problems.extend(unknown.filter(|_| nothing.is_some()));
        problems.extend(nothing.filter(|_| problems.is_empty()));
    }
    problems
}

/// Follows each chain to its end. Each has one.
pub(in crate::config) fn follow(caches: &mut [CacheConfig]) {
    let next = |cache: &CacheConfig| Some((cache.alias.clone(), cache.forwarding()?.to.clone()));
    let next: HashMap<_, _> = caches.iter().filter_map(next).collect();
    for cache in caches {
        if let Backend::Unchecked(SkipReason::Forwards(forwarding)) = &mut cache.backend {
            while let Some(to) = next.get(&forwarding.end) {
                forwarding.end.clone_from(to);
            }
        }
    }
}

fn missing<'a>(from: &CacheReader, to: &Alias, known: impl Iterator<Item = &'a Alias>) -> String {
    let mut aliases: Vec<_> = known.map(Alias::as_str).collect();
    aliases.sort_unstable();
    if from.forwards.is_none() {
        return format!("without a location, `{}` forwards to `{to}`, which is not configured", from.alias);
    }
    match nearest(to.as_str(), &aliases) {
        Some(nearest) => format!("no cache is named `{to}`; did you mean `{nearest}`?"),
        None => format!("no cache is named `{to}`; the configured ones are {}", aliases.join(", ")),
    }
}

fn nothing_to_check(caches: &[(CacheReader, CacheConfig)]) -> Option<ConfigProblem> {
    let kind = |backend: &Backend| match backend {
        Backend::Redis(_) | Backend::Memcached(_) => None,
        Backend::Unchecked(SkipReason::LocalMemory) => Some("lives in the application's memory"),
        Backend::Unchecked(SkipReason::Forwards(_)) => Some("forwards to another"),
        Backend::Unchecked(SkipReason::NoServer { .. }) => Some("has no server"),
        Backend::Unchecked(SkipReason::Unknown { .. }) => Some("is not known"),
    };
    let reasons: Option<Vec<_>> = caches
        .iter()
        .map(|(reading, cache)| Some(format!("{} {}", reading.alias, kind(&cache.backend)?)))
        .collect();
    let (first, _) = caches.first()?;
    let reasons = reasons?.join(", ");
    Some(first.place.problem(format_args!(
        "no cache can be checked: {reasons}; configure the Redis or memcached that the application uses"
    )))
}
