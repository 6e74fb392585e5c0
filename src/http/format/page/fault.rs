//! [`PageFault`]: the checks that are not up for one reason, such as one server behind several aliases.

use std::sync::Arc;

use maud::{Markup, html};

use super::drawing::glyph;
use super::entry::PageEntry;
use super::nodes::{Nodes, trouble};
use super::say;
use crate::http::access::AccessLevel;
use crate::outcome::{Cause, Status};

/// The most checks of one fault that are shown with more than their names.
const SHOWN: usize = 6;

/// The most checks of one fault that its head names.
const LISTED: usize = 8;

/// The most further checks of one fault that are named.
const NAMED: usize = 40;

/// Checks with the same faulty nodes, or a single check.
pub(super) struct PageFault<'a> {
    /// Their faulty nodes; none of a check that has its card alone.
    nodes: Vec<(Arc<str>, Cause)>,
    pub(super) entries: Vec<PageEntry<'a>>,
}

impl<'a> PageFault<'a> {
    /// The entries, those with the same faulty nodes together, in the order of the first of each.
    pub(super) fn of(entries: Vec<PageEntry<'a>>) -> Vec<Self> {
        let mut faults: Vec<Self> = Vec::new();
        for entry in entries {
            let nodes = faulty_nodes(&entry);
            match faults.iter_mut().find(|fault| !nodes.is_empty() && fault.nodes == nodes) {
                Some(fault) => fault.entries.push(entry),
                None => faults.push(Self { nodes, entries: vec![entry] }),
            }
        }
        faults
    }

    /// The worst status of its checks.
    pub(super) fn status(&self) -> Status {
        self.entries.iter().map(|entry| entry.status).max().unwrap_or(Status::Skipped)
    }

    /// The fault with its checks under it, or the single check.
    pub(super) fn card(&self) -> Markup {
        match self.entries.as_slice() {
            [first, _, ..] => self.shared(first),
            entries => html! { @for entry in entries { (entry.card()) } },
        }
    }

    fn shared(&self, first: &PageEntry<'_>) -> Markup {
        let names: Vec<_> = self.entries.iter().map(|entry| entry.outcome.entry()).collect();
        let servers: Vec<_> = first.outcome.nodes.iter().filter(|node| node.fault.is_some()).collect();
        let (shown, rest) = self.entries.split_at(self.entries.len().min(SHOWN));
        let status = self.status();
        html! {
            details #{ "check-" (names[0]) } class=(status.word()) open {
                summary {
                    div .name {
                        (glyph(status))
                        h3 {
                            @if let Some(server) = servers.first() { code { (say::address(&server.node)) } }
                            @if servers.len() > 1 { " and " (servers.len() - 1) " more" }
                        }
                        span .word { (status.word()) }
                    }
                    p .affected { "Affects " (say::list_of(&names, LISTED)) }
                }
                div .body {
                    (first.reasons())
                    @match servers.as_slice() {
                        [server] => { (trouble(server, first.outcome.needs.wire)) }
                        _ => { (Nodes::faulty(first.outcome).markup()) }
                    }
                    ul .nodes { @for entry in shown { (entry.victim()) } }
                    @if !rest.is_empty() {
                        p .quiet {
                            "Also " (names[SHOWN..].iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", "))
                            @if rest.len() > NAMED { " and " (rest.len() - NAMED) " more" } "."
                        }
                    }
                }
            }
        }
    }
}

/// The faulty nodes of a check that has no other problem, for readers who may know them.
fn faulty_nodes(entry: &PageEntry<'_>) -> Vec<(Arc<str>, Cause)> {
    if entry.view == AccessLevel::Verdicts
        || entry.status == Status::Up
        || !entry.outcome.findings().is_empty()
    {
        return Vec::new();
    }
    let faulty = entry.outcome.nodes.iter().filter_map(|node| {
        let fault = node.fault.as_ref()?;
        Some((node.node.clone(), fault.cause))
    });
    let mut faulty: Vec<_> = faulty.collect();
    faulty.sort();
    faulty
}
