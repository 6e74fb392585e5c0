//! The nodes of a check. Equal ones are one row, which opens.

use maud::{Markup, html};

use super::drawing::{glyph, phases};
use super::say;
use crate::outcome::{Fault, NodeOutcome, Outcome, Role, Wire, next_step};

/// The most nodes that are shown; a cluster may have a thousand.
const NODES: usize = 8;

/// The nodes of a check, those that are equal together, and the faulty ones first.
pub(super) struct Nodes<'a> {
    /// The name of the check.
    entry: String,
    wire: Wire,
    rows: Vec<Vec<&'a NodeOutcome>>,
}

impl<'a> Nodes<'a> {
    /// All nodes.
    pub(super) fn of(outcome: &'a Outcome) -> Self {
        Self::some(outcome, outcome.nodes.iter().collect())
    }

    /// The faulty ones.
    pub(super) fn faulty(outcome: &'a Outcome) -> Self {
        Self::some(outcome, outcome.nodes.iter().filter(|node| node.fault.is_some()).collect())
    }

    fn some(outcome: &'a Outcome, mut nodes: Vec<&'a NodeOutcome>) -> Self {
        nodes.sort_by_key(|node| node.fault.is_none());
        let mut rows: Vec<Vec<&NodeOutcome>> = Vec::new();
        for node in nodes {
            match rows.iter_mut().find(|row| are_equal(row[0], node)) {
                Some(row) => row.push(node),
                None => rows.push(vec![node]),
            }
        }
        Self { entry: outcome.entry(), wire: outcome.needs.wire, rows }
    }

    pub(super) fn markup(&self) -> Markup {
        let mut room = NODES;
        let rows = self.rows.iter().map(|row| {
            let shown = row.len().min(room);
            room -= shown;
            self.row(row, shown)
        });
        html! { ul .nodes { @for row in rows { (row) } } }
    }

    /// Equal nodes, of which the first `shown` are listed.
    fn row(&self, row: &[&NodeOutcome], shown: usize) -> Markup {
        let [first, _, ..] = row else { return html! { @for node in row { (one(node, self.wire)) } } };
        let said = |node: &NodeOutcome| node.fault.as_ref().map(|fault| fault.said.clone());
        let is_said_of_all = row.iter().all(|node| said(node) == said(first));
        html! {
            li {
                details .fold #{ "nodes-" (self.entry) "-" (kind(first)) } open[first.fault.is_some()] {
                    summary {
                        div class={ "node " (first.status().word()) } {
                            (glyph(first.status()))
                            div {
                                b { (row.len()) " " (first.role.name()) "s" }
                                " " span .quiet { (first.status().word()) }
                            }
                        }
                        @if let Some(fault) = &first.fault { (self::fault(fault, is_said_of_all)) }
                    }
                    (next(first, self.wire))
                    ul {
                        @for node in &row[..shown] {
                            li {
                                div .node { div { b { (say::address(&node.node)) } (lag(node)) } }
                                @if let (Some(fault), false) = (&node.fault, is_said_of_all) { p { (fault.said) } }
                                (phases(node))
                            }
                        }
                        (left_out(row.len() - shown, "not listed"))
                    }
                }
            }
        }
    }
}

/// `true` if the same is to be said of both nodes.
fn are_equal(one: &NodeOutcome, other: &NodeOutcome) -> bool {
    kind(one) == kind(other)
}

/// Role and state of a node: `server-up`, `replica-timed_out-read`.
fn kind(node: &NodeOutcome) -> String {
    match &node.fault {
        None => format!("{}-up", node.role.name()),
        Some(Fault { cause, phase, .. }) => format!("{}-{cause}-{phase}", node.role.name()),
    }
}

fn one(node: &NodeOutcome, wire: Wire) -> Markup {
    let status = node.status();
    html! {
        li {
            div class={ "node " (status.word()) } {
                (glyph(status))
                div {
                    b { (say::address(&node.node)) }
                    " "
                    span .quiet {
                        @match node.role {
                            Role::Server => {},
                            role @ (Role::Replica | Role::Sentinel | Role::Endpoint) => { (role.name()) " " },
                        }
                        (status.word())
                    }
                    (lag(node))
                }
            }
            (trouble(node, wire))
        }
    }
}

/// The fault of a node, if it has one, with the command to run next, and its phases.
pub(super) fn trouble(node: &NodeOutcome, wire: Wire) -> Markup {
    html! {
        @if let Some(fault) = &node.fault { (self::fault(fault, true)) }
        (next(node, wire))
        (phases(node))
    }
}

/// The command to run next for a faulty node.
fn next(node: &NodeOutcome, wire: Wire) -> Markup {
    let command = node.fault.as_ref().and_then(|fault| next_step(node, fault, wire));
    html! { @if let Some(command) = command { p .next { "Next: " code { (command) } } } }
}

fn fault(Fault { cause, phase, said, .. }: &Fault, with_words: bool) -> Markup {
    html! {
        p { (cause) " in " (phase) @if with_words && !said.is_empty() { ": " (say::address(said)) } }
    }
}

fn lag(node: &NodeOutcome) -> Markup {
    html! { @if let Some(lag) = node.lag { " " span .quiet { "behind by " (say::took(lag)) } } }
}

/// The number of items that a list leaves out.
pub(super) fn left_out(number: usize, what: &str) -> Markup {
    html! { @if number > 0 { li .quiet { (say::more(number)) " " (what) "." } } }
}
